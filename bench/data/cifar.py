"""CIFAR-10 and CIFAR-100 from their pickles, read by a reader that can build arrays and nothing else."""

from __future__ import annotations

import _codecs
import io
import pickle
import warnings
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from bench.data.dataset import Seed
from bench.data.images import Augment, EvaluateOn, Images, check_labels
from bench.data.root import find_folder, pick_file, read_file, refuse
from bench.data.split import Share
from bench.errors import Unsupported
from bench.kinds import Positive

SHAPE = (3, 32, 32)
# Classes -> folder, training files, test files, and the key of the labels.
LAYOUTS: dict[int, tuple[str, tuple[str, ...], tuple[str, ...], bytes]] = {
    10: ("cifar-10-batches-py", tuple(f"data_batch_{n}" for n in range(1, 6)), ("test_batch",), b"labels"),
    100: ("cifar-100-python", ("train",), ("test",), b"fine_labels"),
}


class Cifar(Images):
    """Colour images of 32 x 32 pixels in 10 or 100 classes, from the "python version" as unpacked.

    Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.

    Args:
        num_classes: 10, or 100 with the fine labels.
        root: Folder to look in instead; see `find_folder`.
        val_share: See `Images`, as are the others.

    Raises:
        Unsupported: The files are nowhere.
        DataError: A file is damaged or an argument out of range; the line names it.
    """

    def __init__(
        self,
        *,
        num_classes: Literal[10, 100],
        root: str | None,
        val_share: Share,
        split_seed: Seed,
        evaluate_on: EvaluateOn,
        mean: tuple[float, ...],
        sd: tuple[Positive, ...],
        augment: Augment,
    ) -> None:
        layout, train_names, test_names, key = LAYOUTS[num_classes]
        folder = find_folder(root, [layout], [*train_names, *test_names])
        if folder is None:
            raise Unsupported(f"not run: wants CIFAR-{num_classes}'s {layout} below data.root= or BENCH_DATA")
        train, test = (_read_side(folder, names, key, num_classes) for names in (train_names, test_names))
        super().__init__(
            train=train,
            test=test,
            num_classes=num_classes,
            found=folder,
            task="classification",
            val_share=val_share,
            split_seed=split_seed,
            evaluate_on=evaluate_on,
            mean=mean,
            sd=sd,
            augment=augment,
        )


class ArrayUnpickler(pickle.Unpickler):
    """Unpickler that knows the four names numpy's arrays are rebuilt with, and refuses all others.

    Whatever a name stands for is looked up in a table and never imported, so nothing in a file can run.
    """

    # What rebuilds an array, under the name of every numpy that wrote one.
    _rebuild: ClassVar[Any] = np.empty(0).__reduce__()[0]
    _known: ClassVar[dict[tuple[str, str], Any]] = {
        ("numpy.core.multiarray", "_reconstruct"): _rebuild,
        ("numpy._core.multiarray", "_reconstruct"): _rebuild,
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        # How Python 3 writes bytes for Python 2.
        ("_codecs", "encode"): _codecs.encode,
    }

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        """Return what one of the known names stands for.

        Raises:
            UnpicklingError: The name is another.
        """
        if (module_name, global_name) not in self._known:
            raise pickle.UnpicklingError(f"a pickle that calls {module_name}.{global_name}")
        return self._known[module_name, global_name]


def read_batch(path: Path, key: bytes, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the images `(num, 3, 32, 32)` uint8 and labels `(num,)` int64 of one file.

    Args:
        path: The pickle.
        key: Of the labels.
        num_classes: One more than the largest label allowed.

    Raises:
        DataError: It is damaged, is something else, or asks for anything but arrays.
    """
    stream = io.BytesIO(read_file(path))
    try:
        with warnings.catch_warnings():
            # numpy 2.4.0 to 2.4.4 warns of how numpy 1 wrote a dtype.
            warnings.simplefilter("ignore", np.exceptions.VisibleDeprecationWarning)
            content = ArrayUnpickler(stream, encoding="bytes").load()
    except pickle.UnpicklingError as error:
        raise refuse(path, "a pickle of arrays", error) from None
    except Exception as error:  # What comes of bytes that are no pickle depends on the bytes.
        raise refuse(path, "a pickle of arrays", f"{type(error).__name__}: {error}") from None
    if not isinstance(content, dict):
        raise refuse(path, "a dictionary", f"a {type(content).__name__}")
    for name in (b"data", key):
        if name not in content:
            raise refuse(path, f"a key {name.decode()}", f"{sorted(map(str, content))[:8]}")
    images, labels = content[b"data"], content[key]
    length = int(np.prod(SHAPE))
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
        raise refuse(path, "data of bytes", getattr(images, "dtype", type(images).__name__))
    if images.ndim != 2 or images.shape[1] != length or len(images) == 0:
        raise refuse(path, f"data of rows of {length}", f"shape {images.shape}")
    if not isinstance(labels, list) or not all(type(label) is int for label in labels):
        raise refuse(path, f"{key.decode()} as a list of whole numbers", type(labels).__name__)
    if len(labels) != len(images):
        raise refuse(path, f"{len(images):,} labels, one an image", f"{len(labels):,}")
    if not 0 <= min(labels) <= max(labels) < num_classes:
        raise refuse(path, f"labels from 0 to {num_classes - 1}", f"{min(labels)} to {max(labels)}")
    return images.reshape(-1, *SHAPE), np.array(labels, np.int64)


def _read_side(
    folder: Path, names: tuple[str, ...], key: bytes, num_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    batches = [read_batch(pick_file(folder, name), key, num_classes) for name in names]
    images, labels = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    check_labels(labels, num_classes, folder / names[0])
    return images, labels
