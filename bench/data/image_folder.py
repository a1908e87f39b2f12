"""Images in folders, one folder a class, decoded batch by batch because they do not fit into memory."""

from __future__ import annotations

import copy
import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bench.data.dataset import DataSet, Part, require
from bench.data.images import Augment
from bench.data.order import Order
from bench.data.picture import cut_at_random, cut_centre, mirror, open_picture
from bench.data.root import find_folder, refuse
from bench.errors import Unsupported
from bench.kinds import Count, Positive
from bench.seeds import derive

SUFFIXES = (".jpeg", ".jpg", ".png")
SIDES = ("train", "val")
# Validation rows decoded at once.
CHUNK = 256
# Pillow lets other threads run while it decodes; more of them than this wait for the disk.
NUM_THREADS = min(16, os.cpu_count() or 1)


class ImageFolder(DataSet):
    """Classification of the pictures of `train/<class>/` and `val/<class>/`, streamed; a row is one picture.

    Classes are numbered in the order of their names, and rows in that of class and file name. The hash is of
    those names and the files' sizes: the pixels of a large set take too long to read before each run.

    Args:
        root: Folder to look in; see `find_folder`.
        folder: Name of the set's own folder below BENCH_DATA or the root.
        num_classes: How many there must be; None: any number.
        image_size: Height and width of an input, in pixels.
        mean: Subtracted from each channel of a pixel in [0, 1].
        sd: What each channel is then divided by.
        augment: `flip_crop` trains on a random part of each picture, mirrored half of the time; `none` on
            its centre, which is what validation always sees.

    Raises:
        Unsupported: The folders are nowhere.
        DataError: A class has no picture, or the sides have other classes; the line names it.
    """

    item = "sample"
    input_kind = "image"

    def __init__(
        self,
        *,
        root: str | None,
        folder: str,
        num_classes: Count | None,
        image_size: Count,
        mean: tuple[float, ...],
        sd: tuple[Positive, ...],
        augment: Augment,
    ) -> None:
        require("image_size", image_size >= 1, "a whole number >= 1", image_size)
        for key, values in (("mean", mean), ("sd", sd)):
            require(key, len(values) == 3, "3 numbers, one a channel", list(values))
        require("sd", min(sd) > 0, "numbers > 0", list(sd))
        require("augment", augment in ("none", "flip_crop"), "none or flip_crop", augment)
        found = find_folder(root, [folder], ["train"])
        if found is None:
            raise Unsupported(
                f"not run: wants {folder}/train/<class>/*.jpg and {folder}/val/<class>/*.jpg "
                "below BENCH_DATA, or train/ and val/ in data.root="
            )
        self._root = found
        listed = {side: _list_side(found, side) for side in SIDES}
        self._classes = sorted(listed["train"])
        if num_classes is not None and len(self._classes) != num_classes:
            raise refuse("train", f"{num_classes} classes", len(self._classes))
        for name in sorted(listed["train"].keys() ^ listed["val"].keys()):
            where = "train" if name in listed["train"] else "val"
            raise refuse("val", "the classes of train", f"{name!r} in {where} only")
        sha = hashlib.sha256()
        self._rows: dict[str, list[str]] = {side: [] for side in SIDES}
        self._labels: dict[str, Tensor] = {}
        for side in SIDES:
            labels = []
            for label, name in enumerate(self._classes):
                for file_name, num_bytes in listed[side][name]:
                    path = f"{side}/{name}/{file_name}"
                    sha.update(f"{path}\0{num_bytes}\n".encode("utf-8", "surrogateescape"))
                    self._rows[side].append(path)
                    labels.append(label)
            self._labels[side] = torch.tensor(labels)
        self.sha256 = sha.hexdigest()
        self.input_shape = (3, image_size, image_size)
        self.num_outputs = len(self._classes)
        self.num_train_rows, self.num_val_rows = len(self._rows["train"]), len(self._rows["val"])
        self._augment = augment
        self._size = image_size
        self._device = torch.device("cpu")
        self._order = Order(self.num_train_rows)
        exact_mean, exact_sd = (torch.tensor(v, dtype=torch.float64).view(-1, 1, 1) for v in (mean, sd))
        self._scale, self._shift = (1 / (255 * exact_sd)).float(), (-exact_mean / exact_sd).float()

    def to(self, device: torch.device | str) -> Self:
        """Return the data set with its batches on a device; see `DataSet`."""
        moved = copy.copy(self)
        moved._device = torch.device(device)
        moved._order = Order(self.num_train_rows)
        moved._scale, moved._shift = self._scale.to(device), self._shift.to(device)
        return moved

    def train_batch(self, seed: int, step: int, batch_size: int) -> tuple[Tensor, Tensor]:
        """Return one training batch; see `DataSet`."""
        if batch_size >= self.num_train_rows:
            rows = list(range(self.num_train_rows))
        else:
            rows = self._order.rows(seed, step, batch_size, torch.device("cpu")).tolist()
        seeds = [derive(seed, "augment", step, row) for row in rows] if self._augment != "none" else None
        return self._load("train", rows, seeds)

    def val_batches(self, part: Part) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield one half of the validation rows; see `DataSet`."""
        half = range(0 if part == "search" else 1, self.num_val_rows, 2)
        for start in range(0, len(half), CHUNK):
            yield self._load("val", half[start : start + CHUNK], None)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the cross-entropy summed over items, in float32 nats."""
        return F.cross_entropy(outputs.float(), targets, reduction="sum")

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Return `accuracy` as a sum over items."""
        return {"accuracy": (outputs.argmax(dim=-1) == targets).sum()}

    def describe(self) -> dict[str, str]:
        """Return what `do=check` prints, with the rows of each class and where they lie."""
        lines = super().describe()
        for side, title in zip(SIDES, ("train", "held out"), strict=True):
            counts = torch.bincount(self._labels[side]).tolist()
            lines[f"rows a class, {title}"] = f"min {min(counts)}, max {max(counts)}"
        first, last = self._classes[0], self._classes[-1]
        return lines | {"classes": f"{self.num_outputs:,}, {first} to {last}", "files": str(self._root)}

    def _load(self, side: str, rows: Sequence[int], seeds: Sequence[int] | None) -> tuple[Tensor, Tensor]:
        # A pool a batch: one that is kept would not outlive the fork of a process.
        with ThreadPoolExecutor(NUM_THREADS) as pool:
            paths = [self._rows[side][row] for row in rows]
            pictures = list(pool.map(self._decode, paths, seeds or [None] * len(paths)))
        pixels = torch.from_numpy(np.stack(pictures)).to(self._device).permute(0, 3, 1, 2).contiguous()
        inputs = pixels.float().mul_(self._scale).add_(self._shift)
        return inputs, self._labels[side][torch.tensor(rows)].to(self._device)

    def _decode(self, path: str, seed: int | None) -> np.ndarray:
        """Return one picture's input as bytes, `(image_size, image_size, 3)`."""
        picture = open_picture(self._root, path)
        if seed is None:
            return np.asarray(cut_centre(picture, self._size))
        stream = np.random.Generator(np.random.PCG64(seed))
        return np.asarray(mirror(cut_at_random(picture, self._size, stream), stream))


def _list_side(root: Path, side: str) -> dict[str, list[tuple[str, int]]]:
    """Return class -> sorted names and sizes of its pictures; what is hidden or no picture is left out."""
    if not (root / side).is_dir():
        raise refuse(side, "a folder", "none")
    listed = {}
    with os.scandir(root / side) as entries:
        names = [entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
    for name in names:
        with os.scandir(root / side / name) as entries:
            files = [(entry.name, entry.stat().st_size) for entry in entries if _is_picture(entry.name)]
        if not files:
            raise refuse(f"{side}/{name}", "a .jpeg, .jpg or .png file", "none")
        listed[name] = sorted(files)
    if not listed:
        raise refuse(side, "a folder a class", "none")
    return listed


def _is_picture(name: str) -> bool:
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")
