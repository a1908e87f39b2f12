"""The points of a grid, how a range grows, and whether the best point lies on its edge: plain numbers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import msgspec

from bench.effort import Dimension, Search
from bench.search.space import LR, Params, Space, Value, round_digits

Side = Literal["low", "high"]

# Without a grid no neighbour need be near a bound: this share of the log range at either end is an edge.
EDGE = 0.1


class Trial(NamedTuple):
    """One setting and what came of it; `value` is None where it diverged or failed."""

    number: int
    params: Params
    value: float | None


def make_offsets(space: Space, search: Search) -> list[int]:
    """Return the positions of the first lr points on their grid, in the order they are tried.

    Returns:
        0, 1, -1, 2, -2... around the declared default, of which a larger `trials` has more; 0, 1, 2... from
        the low end where `search.space` gives lr an interval or a list; 0 alone where lr is not varied.
    """
    if LR not in space:
        return [0]
    if (choices := space[LR].choices) is not None:
        return list(range(len(choices)))
    if LR in search.space:
        return list(range(search.trials))
    return [(k + 1) // 2 if k % 2 else -k // 2 for k in range(search.trials)]


def widen_offsets(offsets: Sequence[int], side: Side, num: int) -> list[int]:
    """Return positions with the next `num` beyond the lowest or highest, at the same spacing."""
    if side == "low":
        return [*offsets, *range(min(offsets) - 1, min(offsets) - 1 - num, -1)]
    return [*offsets, *range(max(offsets) + 1, max(offsets) + 1 + num)]


def make_grid(space: Space, search: Search, default: Params, offsets: Sequence[int]) -> list[Params]:
    """Return the settings of a grid: every lr with every combination of the other keys' choices.

    Args:
        space: What is varied; all but lr are lists.
        search: Points per decade, and whether lr has an interval of its own.
        default: The declared setting: the middle of the lr grid, and the first of each list.
        offsets: Positions of the lr points, in order.

    Returns:
        Settings, the first of each list first; another offset at the end only adds settings at the end.
    """
    lists: dict[str, list[Value]] = {}
    for key, dimension in space.items():
        if key != LR:
            choices = dimension.choices or ()
            lists[key] = sorted(choices, key=lambda choice: choice != default[key])
    grid = []
    for offset in offsets:
        lr: Params = {LR: _lr_at(offset, space[LR], search, default)} if LR in space else {}
        for values in itertools.product(*lists.values()):
            point = lr | dict(zip(lists, values, strict=True))
            grid.append({key: point[key] for key in space})
    return grid


def widen_interval(dimension: Dimension, side: Side, decades: float) -> Dimension:
    """Return an interval with one bound moved outwards by so many powers of ten; a list stays as it is."""
    if dimension.low is None or dimension.high is None:
        return dimension
    if side == "low":
        return msgspec.structs.replace(dimension, low=round_digits(dimension.low * 10**-decades))
    return msgspec.structs.replace(dimension, high=round_digits(dimension.high * 10**decades))


def find_edge(
    trials: Sequence[Trial], space: Space, *, is_grid: bool, sigma: float | None = None
) -> Side | None:
    """Return the side at which the best lr lies on the edge of what was tried.

    The basin is closed at a side when some lr beyond the best is worse by more than sigma; a diverged one is.

    Args:
        trials: Settings with their values; with other keys varied too, an lr counts by its best setting.
        space: What was varied; lr too, else there is no edge.
        is_grid: The points were chosen beforehand; otherwise a best lr near a bound is on the edge anyway.
        sigma: Standard deviation of a value between search seeds; None: any rise closes the basin.

    Returns:
        None when closed on both sides, when only one lr was tried, or when nothing finished. When open on
        both sides, the one whose outermost lr is better.
    """
    losses: dict[float, float] = {}
    for trial in trials:
        lr = trial.params.get(LR)
        if isinstance(lr, int | float):
            loss = math.inf if trial.value is None else trial.value
            losses[lr] = min(loss, losses.get(lr, math.inf))
    lrs = sorted(losses)
    if LR not in space or len(lrs) < 2 or min(losses.values()) == math.inf:
        return None
    best = min(lrs, key=lambda lr: losses[lr])
    limit = losses[best] + (sigma or 0.0)
    beyond: dict[Side, list[float]] = {
        "low": [lr for lr in lrs if lr < best],
        "high": [lr for lr in lrs if lr > best],
    }
    edges = [side for side, tried in beyond.items() if all(losses[lr] <= limit for lr in tried)]
    low, high = space[LR].low, space[LR].high
    if not is_grid and low is not None and high is not None and low > 0:
        share = math.log(best / low) / math.log(high / low)
        edges += ["low"] if share <= EDGE else ["high"] if share >= 1 - EDGE else []
    outermost: dict[Side, float] = {"low": losses[lrs[0]], "high": losses[lrs[-1]]}
    return min(edges, key=lambda side: outermost[side], default=None)


def _lr_at(offset: int, dimension: Dimension, search: Search, default: Params) -> Value:
    if dimension.choices is not None:
        return dimension.choices[offset]
    if LR not in search.space:
        return round_digits(float(default[LR]) * 10 ** (offset / search.per_decade))
    low, high = dimension.low or 0.0, dimension.high or 0.0
    if search.trials == 1:
        middle = math.sqrt(low * high)
        return round_digits(middle * 10 ** (offset / search.per_decade))
    share = offset / (search.trials - 1)
    return round_digits(low * (high / low) ** share)
