"""Which items are held out for validation: fixed by a seed of its own, so every run sees the same split."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from msgspec import Meta

from bench.data.dataset import Seed, require

Share = Annotated[float, Meta(gt=0, lt=1)]


def hold_out(strata: np.ndarray, share: Share, seed: Seed) -> tuple[np.ndarray, np.ndarray]:
    """Split items at random, taking the same share of every stratum.

    Args:
        strata: `(num_items,)` whole numbers, such as class labels; all equal for a plain random split.
        share: Share of each stratum to hold out, rounded to whole items.
        seed: Of the split's private stream.

    Returns:
        Training rows and validation rows, both in stored order.

    Raises:
        DataError: The share or the seed is out of range, or one side would be empty.
    """
    require("val_share", 0 < share < 1, "a number > 0 and < 1", share)
    require("split_seed", seed >= 0, "a whole number >= 0", seed)
    stream = np.random.Generator(np.random.PCG64(seed))
    is_held_out = np.zeros(len(strata), dtype=bool)
    for stratum in np.unique(strata):
        rows = stream.permutation(np.flatnonzero(strata == stratum))
        is_held_out[rows[: round(share * len(rows))]] = True
    sides = np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out)
    fits = all(len(side) > 0 for side in sides)
    require("val_share", fits, f"a share that leaves items on both sides of {len(strata)}", share)
    return sides
