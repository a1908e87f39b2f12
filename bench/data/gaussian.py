"""Linear regression on Gaussian inputs: any size on request, and the floor of the loss is known."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch

from bench.data.arrays import Arrays, digest
from bench.data.dataset import Seed, require
from bench.kinds import Count, NonNegative

TABLE_SIZE = 2**18
TABLE_SEED = 20240607
# An odd number near TABLE_SIZE over the golden ratio: seeds start far from each other, and all differ.
SEED_STRIDE = 162013


class Gaussian(Arrays):
    """Regression of y = x . w + noise * e, where x, w and e are standard normal.

    Args:
        num_features: Length of x and of w.
        num_train: Training items; more only adds items.
        num_val: Validation items.
        noise: Standard deviation of what x can't explain.
        seed: Where in the frozen table the numbers start.

    Raises:
        DataError: An argument is out of range, or the table has too few numbers.
    """

    def __init__(
        self,
        *,
        num_features: Count,
        num_train: Count,
        num_val: Count,
        noise: NonNegative,
        seed: Seed,
    ) -> None:
        for key, count in (("num_features", num_features), ("num_train", num_train), ("num_val", num_val)):
            require(key, count >= 1, "a whole number >= 1", count)
        require("noise", noise >= 0, "a number >= 0", noise)
        require("seed", seed >= 0, "a whole number >= 0", seed)
        num_items = num_val + num_train
        num_normals = num_features + num_items * (num_features + 1)
        room = (TABLE_SIZE - num_features) // (num_features + 1) - num_val
        wants = f"at most {max(room, 0)} with {num_features} features and {num_val} validation items"
        require("num_train", num_normals <= TABLE_SIZE, wants, num_train)
        normals = np.roll(_table(), -(seed * SEED_STRIDE % TABLE_SIZE))[:num_normals]
        weights, rows = normals[:num_features], normals[num_features:].reshape(num_items, num_features + 1)
        targets = rows[:, :-1] @ weights + noise * rows[:, -1]
        inputs = torch.from_numpy(rows[:, :-1].astype(np.float32))
        outputs = torch.from_numpy(targets.astype(np.float32)).unsqueeze(1)
        super().__init__(
            task="regression",
            item="sample",
            input_kind="features",
            num_outputs=1,
            sha256=digest(_table()),
            train=(inputs[num_val:], outputs[num_val:]),
            val=(inputs[:num_val], outputs[:num_val]),
        )


@cache
def _table() -> np.ndarray:
    """Return `(TABLE_SIZE,)` standard normals, float64."""
    normals = np.random.Generator(np.random.PCG64(TABLE_SEED)).standard_normal(TABLE_SIZE)
    # Multiples of 2**-10: their products and sums are exact in float64, so no order of adding changes a bit.
    return np.round(normals * 1024) / 1024
