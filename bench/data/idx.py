"""MNIST and whatever is published in its file format, IDX, such as Fashion-MNIST."""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Literal

import numpy as np

from bench.data.dataset import Seed
from bench.data.images import Augment, EvaluateOn, Images, Task, check_labels
from bench.data.root import find_folder, pick_file, read_file, refuse
from bench.data.split import Share
from bench.errors import Unsupported
from bench.kinds import Positive

NUM_CLASSES = 10
SIDES = ("train", "t10k")
# Set -> torchvision's folder, the folders of system packages, and what to do where there is none.
PLACES = {
    "mnist": ("MNIST/raw", (), "MNIST's four IDX files"),
    "fashion_mnist": (
        "FashionMNIST/raw",
        ("/usr/share/datasets/fashion-mnist",),
        "the Debian package dataset-fashion-mnist (apt-get install dataset-fashion-mnist), or its IDX files",
    ),
}


class Idx(Images):
    """Ten classes of grey images from four IDX files, each plain or with .gz.

    Args:
        files: Which set's places to look in.
        root: Folder to look in instead; see `find_folder`.
        task: See `Images`, as are the others.

    Raises:
        Unsupported: The files are nowhere.
        DataError: A file is damaged or an argument out of range; the line names it.
    """

    def __init__(
        self,
        *,
        files: Literal["mnist", "fashion_mnist"],
        root: str | None,
        task: Task,
        val_share: Share,
        split_seed: Seed,
        evaluate_on: EvaluateOn,
        mean: tuple[float, ...],
        sd: tuple[Positive, ...],
        augment: Augment,
    ) -> None:
        layout, system, wants = PLACES[files]
        folder = find_folder(root, [layout], [_name(side, part) for side in SIDES for part in (3, 1)], system)
        if folder is None:
            raise Unsupported(f"not run: wants {wants} below data.root= or BENCH_DATA")
        train, test = (_read_side(folder, side) for side in SIDES)
        if test[0].shape[1:] != train[0].shape[1:]:
            raise refuse(
                pick_file(folder, _name("t10k", 3)),
                "images of {} x {} like the training set's".format(*train[0].shape[2:]),
                "{} x {}".format(*test[0].shape[2:]),
            )
        super().__init__(
            train=train,
            test=test,
            num_classes=NUM_CLASSES,
            found=folder,
            task=task,
            val_share=val_share,
            split_seed=split_seed,
            evaluate_on=evaluate_on,
            mean=mean,
            sd=sd,
            augment=augment,
        )


def read_idx(path: Path, num_axes: int) -> np.ndarray:
    """Return the array of an IDX file of unsigned bytes.

    The format: two zero bytes, 8 for unsigned bytes, the number of axes, their lengths as big-endian uint32,
    then the values row by row. Source: the page of MNIST, Y. LeCun, C. Cortes and C. Burges, 1998.

    Args:
        path: The file, plain or with .gz.
        num_axes: How many are wanted.

    Raises:
        DataError: It is anything else, or its length is not what it says.
    """
    content = read_file(path)
    start = 4 + 4 * num_axes
    if len(content) < start:
        raise refuse(path, f"an IDX header of {start} bytes", f"{len(content)} bytes in all")
    if content[:2] != b"\0\0":
        raise refuse(path, "an IDX file, which starts with two zero bytes", f"0x{content[:4].hex()}")
    if content[2] != 8:
        raise refuse(path, "unsigned bytes (IDX type 0x08)", f"type 0x{content[2]:02x}")
    if content[3] != num_axes:
        raise refuse(path, f"{num_axes} axes", content[3])
    lengths = struct.unpack(f">{num_axes}I", content[4:start])
    shown = " x ".join(map(str, lengths))
    if 0 in lengths:
        raise refuse(path, "at least one value", shown)
    if len(content) - start != math.prod(lengths):
        raise refuse(path, f"{math.prod(lengths):,} values ({shown})", f"{len(content) - start:,}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(lengths)


def _read_side(folder: Path, side: str) -> tuple[np.ndarray, np.ndarray]:
    """Return images `(num, 1, height, width)` and labels `(num,)`, both uint8."""
    label_path = pick_file(folder, _name(side, 1))
    images, labels = read_idx(pick_file(folder, _name(side, 3)), 3), read_idx(label_path, 1)
    if len(labels) != len(images):
        raise refuse(label_path, f"{len(images):,} labels, one an image", f"{len(labels):,}")
    check_labels(labels, NUM_CLASSES, label_path)
    return images[:, None], labels


def _name(side: str, num_axes: int) -> str:
    return f"{side}-{'images' if num_axes == 3 else 'labels'}-idx{num_axes}-ubyte"
