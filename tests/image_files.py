"""Tiny image sets, written to disk in the formats that the real ones come in."""

from __future__ import annotations

import gzip
import pickle
import struct
from pathlib import Path

import numpy as np
from PIL import Image

IDX_NAMES = {
    "train_images": "train-images-idx3-ubyte",
    "train_labels": "train-labels-idx1-ubyte",
    "test_images": "t10k-images-idx3-ubyte",
    "test_labels": "t10k-labels-idx1-ubyte",
}
IDX_SETTINGS = {
    "files": "mnist",
    "root": None,
    "task": "classification",
    "val_share": 0.25,
    "split_seed": 0,
    "evaluate_on": "val",
    "mean": (0.0,),
    "sd": (1.0,),
    "augment": "none",
}
CIFAR_NAMES = {
    10: (*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"),
    100: ("train", "test"),
}
CIFAR_SETTINGS = {
    "num_classes": 10,
    "root": None,
    "val_share": 0.5,
    "split_seed": 0,
    "evaluate_on": "val",
    "mean": (0.0, 0.0, 0.0),
    "sd": (1.0, 1.0, 1.0),
    "augment": "none",
}


def idx_bytes(array: np.ndarray) -> bytes:
    """Return an array of bytes as an IDX file."""
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write_idx_set(folder: Path, ending: str = "", num_train: int = 40) -> dict[str, np.ndarray]:
    """Write training images and 20 test images of 3 x 2 pixels in ten classes; return the arrays by part.

    Args:
        folder: Made if it is not there.
        ending: "" or ".gz".
        num_train: Training images.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stream = np.random.default_rng(7)
    arrays = {}
    for side, num in (("train", num_train), ("test", 20)):
        arrays[f"{side}_images"] = stream.integers(0, 256, (num, 3, 2)).astype(np.uint8)
        arrays[f"{side}_labels"] = (np.arange(num) % 10).astype(np.uint8)
    for part, array in arrays.items():
        content = idx_bytes(array)
        (folder / (IDX_NAMES[part] + ending)).write_bytes(gzip.compress(content) if ending else content)
    return arrays


def old_pickle(rows: np.ndarray, labels: list[int], key: bytes = b"labels") -> bytes:
    """Return a batch as Python 2 and numpy 1 wrote CIFAR: protocol 2, byte strings, `numpy.core`.

    Args:
        rows: `(num, length)` uint8.
        labels: As many.
        key: Of the labels.
    """

    def text(word: bytes) -> bytes:
        return b"U" + bytes([len(word)]) + word

    def whole(number: int) -> bytes:
        return b"J" + struct.pack("<i", number)

    content = rows.tobytes()
    array = b"cnumpy.core.multiarray\n_reconstruct\n" + b"cnumpy\nndarray\n"
    array += b"K\x00\x85" + text(b"b") + b"\x87R"
    array += b"(K\x01" + whole(rows.shape[0]) + whole(rows.shape[1]) + b"\x86"
    # The dtype's flags are whole numbers, which later versions write as true and false.
    array += b"cnumpy\ndtype\n" + text(b"u1") + b"K\x00K\x01\x87R"
    array += b"(K\x03" + text(b"|") + b"NNN" + whole(-1) + whole(-1) + b"K\x00tb"
    array += b"\x89T" + struct.pack("<i", len(content)) + content + b"tb"
    listed = b"](" + b"".join(map(whole, labels)) + b"e"
    return b"\x80\x02}(" + text(b"data") + array + text(key) + listed + b"u."


def write_cifar_set(
    folder: Path, num_classes: int = 10, num_rows: int = 2
) -> dict[str, tuple[np.ndarray, list[int]]]:
    """Write every file of CIFAR, some as Python 2 wrote them and some as Python 3 does; return them by name.

    Args:
        folder: Made if it is not there.
        num_classes: 10 or 100.
        num_rows: Of each class, in each file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stream = np.random.default_rng(7)
    key = b"labels" if num_classes == 10 else b"fine_labels"
    written = {}
    for number, name in enumerate(CIFAR_NAMES[num_classes]):
        rows = stream.integers(0, 256, (num_rows * num_classes, 3072)).astype(np.uint8)
        labels = [(row + number) % num_classes for row in range(len(rows))]
        new = pickle.dumps({b"data": rows, key: labels, b"batch_label": b"a batch"}, protocol=2)
        (folder / name).write_bytes(new if number % 2 else old_pickle(rows, labels, key))
        written[name] = (rows, labels)
    return written


def write_pictures(root: Path) -> None:
    """Write two classes, three training and two validation pictures each, of many sizes and kinds."""
    stream = np.random.default_rng(7)
    kinds = {
        "train": ("RGB", "L", "CMYK"),
        "val": ("RGB", "P"),
    }
    for side, modes in kinds.items():
        for label, name in enumerate(("ant", "bee")):
            folder = root / side / name
            folder.mkdir(parents=True)
            for number, mode in enumerate(modes):
                size = (20 + 4 * number, 16 + 3 * label, 3)
                # Smooth, so that JPEG keeps it: a colour a class, with a little grain.
                pixels = np.full(size, 60 + 120 * label) + stream.integers(0, 9, size)
                suffix = (".JPEG", ".jpg", ".JPG")[number] if mode != "P" else ".Png"
                kind = "PNG" if mode == "P" else "JPEG"
                picture = Image.fromarray(pixels.astype(np.uint8)).convert(mode)
                picture.save(folder / f"{number}{suffix}", format=kind)
