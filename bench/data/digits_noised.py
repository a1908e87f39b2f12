"""Handwritten digits under noise, for a model that learns to tell the noise: the smallest diffusion task."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bench.data.arrays import digest
from bench.data.bundled import read_digits
from bench.data.dataset import DataSet, Inputs, Part, Seed, at_least_float32, require
from bench.data.order import Order
from bench.data.split import Share, hold_out
from bench.kinds import Count
from bench.seeds import derive

# Keeps the smallest times from being all but clean. Source: as `signal_share`, section 3.2.
OFFSET = 0.008


class DigitsNoised(DataSet):
    """Regression from a noised image (1, 8, 8) and its time to the noise that is in it.

    Source: Ho et al., 2020, arXiv 2006.11239, equation 14, with continuous time. An input is a dict: `image`,
    sqrt(share) * clean + sqrt(1 - share) * noise with clean in [-1, 1], and `time`, in (0, 1].

    Args:
        val_share: Share of each digit's images held out.
        split_seed: Of the split's private stream.
        val_draws: Times and noises that each held-out image is seen under; a row is one of them.
        noise_seed: Of the private stream of those.

    Raises:
        DataError: An argument is out of range; the line names its key.
    """

    item = "sample"
    input_kind = "noised"
    input_shape = (1, 8, 8)
    num_outputs = 64

    def __init__(self, *, val_share: Share, split_seed: Seed, val_draws: Count, noise_seed: Seed) -> None:
        require("val_draws", val_draws >= 1, "a whole number >= 1", val_draws)
        require("noise_seed", noise_seed >= 0, "a whole number >= 0", noise_seed)
        images, labels = read_digits()
        self.sha256 = digest(images, labels)
        train_rows, val_rows = hold_out(labels, val_share, split_seed)
        clean = torch.from_numpy(images.astype(np.float32) / 8 - 1).unsqueeze(1)
        self._train, held_out = clean[train_rows], clean[val_rows]
        self.num_train_rows, self.num_val_rows = len(train_rows), len(val_rows) * val_draws
        self._order = Order(self.num_train_rows)
        generator = torch.Generator("cpu").manual_seed(derive(noise_seed, "noise"))
        # Draw k of an image has its time in the k-th of equal spans of (0, 1]: a loss that varies less.
        spans = torch.arange(val_draws).repeat(len(held_out))
        times = (spans + 1 - torch.rand(self.num_val_rows, generator=generator)) / val_draws
        noise = torch.randn(self.num_val_rows, *self.input_shape, generator=generator)
        self._val_images = add_noise(held_out.repeat_interleave(val_draws, 0), times, noise)
        self._val_times, self._val_noise = times, noise
        self._val_draws = val_draws

    def to(self, device: torch.device | str) -> Self:
        """Return the data set on a device; see `DataSet`."""
        moved = copy.copy(self)
        for name in ("_train", "_val_images", "_val_times", "_val_noise"):
            setattr(moved, name, getattr(self, name).to(device))
        moved._order = Order(self.num_train_rows)
        return moved

    def train_batch(self, seed: int, step: int, batch_size: int) -> tuple[Inputs, Tensor]:
        """Return one training batch under times and noise of its own; see `DataSet`."""
        clean = self._train
        if batch_size < self.num_train_rows:
            clean = clean.index_select(0, self._order.rows(seed, step, batch_size, clean.device))
        # Drawn on the CPU, so that every device sees the same noise.
        generator = torch.Generator("cpu").manual_seed(derive(seed, "noise", step))
        times = 1 - torch.rand(len(clean), generator=generator)
        noise = torch.randn(clean.shape, generator=generator)
        times, noise = (drawn.to(clean.device, non_blocking=True) for drawn in (times, noise))
        return {"image": add_noise(clean, times, noise), "time": times}, noise.flatten(1)

    def val_batches(self, part: Part) -> Iterator[tuple[Inputs, Tensor]]:
        """Yield one half of the validation rows, all draws of an image in the same half; see `DataSet`."""
        image_numbers = torch.arange(self.num_val_rows, device=self._val_times.device) // self._val_draws
        is_in_part = image_numbers % 2 == (0 if part == "search" else 1)
        if is_in_part.any():
            inputs: Inputs = {"image": self._val_images[is_in_part], "time": self._val_times[is_in_part]}
            yield inputs, self._val_noise[is_in_part].flatten(1)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the squared error averaged over the pixels and summed over items, in float32."""
        return F.mse_loss(at_least_float32(outputs).flatten(1), targets, reduction="sum") / self.num_outputs

    def describe(self) -> dict[str, str]:
        """Return what `do=check` prints, with the clean pixels as they are."""
        mean, sd = self._train.mean().item(), self._train.std().item()
        low, high = self._train.min().item(), self._train.max().item()
        return super().describe() | {
            "pixels": f"float32, {low:g} to {high:g}; mean {mean:.4f} sd {sd:.4f}, before noise",
            "held-out images": f"{self.num_val_rows // self._val_draws}, each under {self._val_draws} noises",
        }


def add_noise(clean: Tensor, times: Tensor, noise: Tensor) -> Tensor:
    """Return sqrt(share) * clean + sqrt(1 - share) * noise, where share is that of the signal at each time.

    Args:
        clean: Images `(batch, channels, height, width)`.
        times: `(batch,)` in (0, 1].
        noise: Standard normal, of the images' shape.
    """
    share = signal_share(times).view(-1, 1, 1, 1)
    return share.sqrt() * clean + (1 - share).sqrt() * noise


def signal_share(times: Tensor) -> Tensor:
    """Return the signal's share of the variance at times in [0, 1]: near 1 at 0, 0 at 1.

    Source: Nichol and Dhariwal, 2021, arXiv 2102.09672, equation 17: a squared cosine. Deviation: no clipping
    of its steps, because there are none.
    """
    start = math.cos(OFFSET / (1 + OFFSET) * math.pi / 2) ** 2
    # Rounding could leave the range, of which roots are taken.
    angles = (times + OFFSET) / (1 + OFFSET) * (math.pi / 2)
    return (angles.cos() ** 2 / start).clamp(0, 1)
