"""After how many steps an optimizer's work repeats: some do heavy work only every k-th."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

# What optimizers call the number of steps between heavy ones; read from their groups and defaults.
_NAMES = (
    "precondition_frequency",
    "preconditioning_compute_steps",
    "precondition_update_freq",
    "update_proj_gap",
    "hessian_update_freq",
)
# A heavy step takes so many times what a light one does, at least.
_HEAVY = 1.4
# Heavy steps seen, at least: fewer may be chance on a busy machine.
_SEEN = 8


def find_period(optimizer: Any, times_s: Sequence[float], numbers: Sequence[int]) -> int:
    """Return an optimizer's update period: declared, else found in the times of its steps, else 1.

    An optimizer declares it with an attribute `update_period`, or with an argument of a customary name such
    as `precondition_frequency`. Else the smallest k counts for which one step in k is almost always
    heavy and no other place in the k mostly is.

    Args:
        optimizer: A `torch.optim.Optimizer`.
        times_s: What steps took.
        numbers: Of the same steps, as the optimizer counted them.
    """
    declared = [getattr(optimizer, "update_period", None)]
    for options in (*getattr(optimizer, "param_groups", ()), getattr(optimizer, "defaults", {})):
        declared += [options.get(name) for name in _NAMES]
    known = [value for value in declared if isinstance(value, int) and value >= 1]
    # Several: the longest, of which the others mostly are divisors.
    return max(known) if known else _detect(np.asarray(times_s), np.asarray(numbers))


def _detect(times: np.ndarray, numbers: np.ndarray) -> int:
    if len(times) == 0:
        return 1
    # A quarter at least are light, and hardly disturbed.
    is_heavy = times > _HEAVY * np.quantile(times, 0.25)
    for period in range(2, len(times) // _SEEN + 1):
        places = numbers % period
        counts = np.bincount(places, minlength=period)
        shares = np.bincount(places, weights=is_heavy, minlength=period) / np.maximum(counts, 1)
        place = int(np.argmax(shares))
        # Almost: on a busy machine a light step may now and then look heavy, but hardly a heavy one light.
        if counts[place] >= _SEEN and shares[place] > 0.9 and np.delete(shares, place).max() < 0.5:
            return period
    return 1
