"""Sets of labelled images of one size: stored as bytes on the device, prepared batch by batch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bench.data.arrays import Arrays, digest
from bench.data.dataset import Inputs, Part, Seed, require
from bench.data.root import refuse
from bench.data.split import Share, hold_out
from bench.kinds import Positive
from bench.seeds import derive

# classification: cross-entropy of the labels; reconstruction: the targets are the pixels themselves.
Task = Literal["classification", "reconstruction"]
# What the validation loss is of: rows held out of the training set, or the set's own test rows.
EvaluateOn = Literal["val", "test"]
Augment = Literal["none", "flip_crop"]
# Pixels of black on each side that `flip_crop` cuts from.
PAD = 4


class Images(Arrays):
    """Images stored as bytes, normalised by channel when asked for, and perhaps changed at random.

    Args:
        train: Images `(num_train, channels, height, width)` uint8 and labels `(num_train,)` of a whole type.
        test: The set's own test rows, the same way.
        num_classes: How many labels there are.
        found: Folder of the files, for `describe`.
        task: What the loss is.
        val_share: Share of each class's training images held out, whatever is evaluated on.
        split_seed: Of the split's private stream.
        evaluate_on: `test` puts the test rows in the place of those held out.
        mean: Subtracted from each channel of a pixel in [0, 1].
        sd: What each channel is then divided by.
        augment: What happens to training images; see `flip_crop`.

    Raises:
        DataError: An argument is out of range; the line names its key.
    """

    def __init__(
        self,
        *,
        train: tuple[np.ndarray, np.ndarray],
        test: tuple[np.ndarray, np.ndarray],
        num_classes: int,
        found: Path,
        task: Task,
        val_share: Share,
        split_seed: Seed,
        evaluate_on: EvaluateOn,
        mean: tuple[float, ...],
        sd: tuple[Positive, ...],
        augment: Augment,
    ) -> None:
        num_channels = train[0].shape[1]
        for key, values in (("mean", mean), ("sd", sd)):
            require(key, len(values) == num_channels, f"{num_channels} numbers, one a channel", list(values))
        require("sd", min(sd) > 0, "numbers > 0", list(sd))
        require("augment", augment in ("none", "flip_crop"), "none or flip_crop", augment)
        is_labelled = task == "classification"
        require("augment", is_labelled or augment == "none", "none where pixels are the targets", augment)
        train_rows, val_rows = hold_out(train[1], val_share, split_seed)
        held_out = (train[0][val_rows], train[1][val_rows]) if evaluate_on == "val" else test
        sides = []
        for images, labels in ((train[0][train_rows], train[1][train_rows]), held_out):
            inputs = torch.from_numpy(images)
            sides.append((inputs, torch.from_numpy(labels.astype(np.int64)) if is_labelled else inputs))
        super().__init__(
            task=task,
            item="sample",
            input_kind="image",
            num_outputs=num_classes if is_labelled else int(np.prod(train[0].shape[1:])),
            sha256=digest(*train, *test),
            train=sides[0],
            val=sides[1],
        )
        self._augment = augment
        self.is_drawn = augment != "none"
        self._found = found
        self._mean, self._sd = list(mean), list(sd)
        # (pixel / 255 - mean) / sd as one product and one sum, from numbers rounded once.
        exact_mean, exact_sd = (torch.tensor(v, dtype=torch.float64).view(-1, 1, 1) for v in (mean, sd))
        self._scale, self._shift = (1 / (255 * exact_sd)).float(), (-exact_mean / exact_sd).float()

    def to(self, device: torch.device | str) -> Self:
        """Return the data set on a device; see `DataSet`."""
        moved = super().to(device)
        moved._scale, moved._shift = self._scale.to(device), self._shift.to(device)
        return moved

    def train_batch(self, seed: int, step: int, batch_size: int) -> tuple[Inputs, Tensor]:
        """Return one training batch; see `DataSet`."""
        inputs, targets = super().train_batch(seed, step, batch_size)
        return inputs, self._aim(targets)

    def train_batches(self, seeds: tuple[int, ...], step: int, batch_size: int) -> tuple[Inputs, Tensor]:
        """Return the training batches of several runs at one step; see `DataSet`."""
        inputs, targets = super().train_batches(seeds, step, batch_size)
        # Where they came one by one they are what they should be already.
        is_gathered = not self.is_drawn and batch_size < self.num_train_rows
        return inputs, self._aim(targets) if is_gathered else targets

    def val_batches(self, part: Part) -> Iterator[tuple[Inputs, Tensor]]:
        """Yield one half of the validation rows; see `DataSet`."""
        for inputs, targets in super().val_batches(part):
            yield inputs, self._aim(targets)

    def prepare(self, inputs: Tensor, position: tuple[int, int] | None) -> Tensor:
        """Return bytes as normalised float32, augmented where they are trained on; see `Arrays`."""
        if position is not None and self._augment == "flip_crop":
            seed, step = position
            inputs = flip_crop(inputs, derive(seed, "augment", step))
        return inputs.float().mul_(self._scale).add_(self._shift)

    def describe(self) -> dict[str, str]:
        """Return what `do=check` prints, with the training pixels as they are and where they lie."""
        levels = torch.arange(256, dtype=torch.float64) / 255
        shown = []
        for channel in self.train_inputs.cpu().unbind(1):
            share = torch.bincount(channel.flatten(), minlength=256).double() / channel.numel()
            mean = (share * levels).sum()
            sd = (share * (levels - mean) ** 2).sum().sqrt()
            shown.append(f"{mean:.4f} sd {sd:.4f}")
        low, high = int(self.train_inputs.min()), int(self.train_inputs.max())
        return super().describe() | {
            "pixels": f"uint8, {low} to {high}; mean of [0, 1] by channel {', '.join(shown)}",
            "normalised by": f"mean {self._mean}, sd {self._sd}; augment {self._augment}",
            "files": str(self._found),
        }

    def _aim(self, targets: Tensor) -> Tensor:
        """Return labels as they are, and pixels in [0, 1], `(batch, num_outputs)`."""
        return targets if self.task == "classification" else targets.flatten(-3).float().div_(255)


def flip_crop(images: Tensor, seed: int) -> Tensor:
    """Return each image moved at random by up to 4 pixels each way, and half of them mirrored.

    Source: He et al., 2015, arXiv 1512.03385, section 4.2. Deviation: what moves in is black; theirs, padded
    after the mean was subtracted, is the mean.

    Args:
        images: `(batch, channels, height, width)` of any type, on any device.
        seed: Of a private stream: the same images on every device.

    Returns:
        Images of the same shape, type and device.
    """
    num, num_channels, height, width = images.shape
    generator = torch.Generator("cpu").manual_seed(seed)
    moves = torch.randint(2 * PAD + 1, (2, num, 1), generator=generator)
    is_mirrored = torch.randint(2, (num, 1), generator=generator).bool()
    rows, columns = torch.arange(height) + moves[0], torch.arange(width).expand(num, width)
    columns = torch.where(is_mirrored, width - 1 - columns, columns) + moves[1]
    # Rows and columns are few enough to be sent each step; not waiting for them is safe, they are not reused.
    rows, columns = (index.to(images.device, non_blocking=True) for index in (rows, columns))
    # (batch, 1, height * width): places in a padded channel laid flat.
    places = (rows.unsqueeze(2) * (width + 2 * PAD) + columns.unsqueeze(1)).view(num, 1, -1)
    padded = F.pad(images, (PAD, PAD, PAD, PAD)).flatten(2)
    return padded.gather(2, places.expand(-1, num_channels, -1)).view_as(images)


def check_labels(labels: np.ndarray, num_classes: int, path: Path) -> None:
    """Refuse labels of which one is out of range, or of which a class has none.

    Raises:
        DataError: The line names the file.
    """
    if not 0 <= int(labels.min()) <= int(labels.max()) < num_classes:
        worst = labels.max() if labels.max() >= num_classes else labels.min()
        raise refuse(path, f"labels from 0 to {num_classes - 1}", worst)
    counts = np.bincount(labels, minlength=num_classes)
    if counts.min() == 0:
        raise refuse(path, "rows of every class", f"none of class {counts.argmin()}")
