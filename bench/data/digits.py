"""Handwritten digits of 8 x 8 pixels: the smallest real images to classify that come without a download."""

from __future__ import annotations

import numpy as np
import torch

from bench.data.arrays import Arrays, digest
from bench.data.bundled import read_digits
from bench.data.dataset import Seed
from bench.data.split import Share, hold_out


class Digits(Arrays):
    """Classification of images (1, 8, 8), standardised pixel by pixel, into ten digits.

    Args:
        val_share: Share of each digit's images held out.
        split_seed: Of the split's private stream.

    Raises:
        DataError: An argument is out of range; the line names its key.
    """

    def __init__(self, *, val_share: Share, split_seed: Seed) -> None:
        images, labels = read_digits()
        train_rows, val_rows = hold_out(labels, val_share, split_seed)
        seen = images[train_rows].astype(np.float64)
        sd = seen.std(axis=0)
        # Some border pixels are never inked.
        sd[sd == 0] = 1
        inputs = torch.from_numpy(((images - seen.mean(axis=0)) / sd).astype(np.float32)).unsqueeze(1)
        targets = torch.from_numpy(labels.astype(np.int64))
        super().__init__(
            task="classification",
            item="sample",
            input_kind="image",
            num_outputs=10,
            sha256=digest(images, labels),
            train=(inputs[train_rows], targets[train_rows]),
            val=(inputs[val_rows], targets[val_rows]),
        )
