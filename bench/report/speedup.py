"""Speed-up at equal final loss: whole trainings of several lengths compared, never points on one curve."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from bench.report.pace import compare_steps
from bench.report.sweep import Arena, Cell
from bench.stats import MIN_PAIRS, summarise, t_interval

# Settings that a horizon decides by itself.
_OF_HORIZON = ("workload", "horizon", "budget.steps", "budget.evaluations")


@dataclass(frozen=True, kw_only=True)
class Ladder:
    """The arenas of one task that differ in their horizon only."""

    # By horizon; one of them is 1.
    arenas: Mapping[float, Arena]

    @property
    def base(self) -> Arena:
        """The arena at the full horizon, where optimizers are compared."""
        return self.arenas[1.0]


@dataclass(frozen=True, kw_only=True)
class Share:
    """An optimizer's steps as a share of those the reference needs for the same final loss."""

    cell: Cell
    # Seeds that both have at the full horizon, and the reference at all others.
    n: int
    # None where the loss lies outside what the reference reached.
    steps: float | None
    # 95 % t interval over the seeds; None below three, or where a seed lies outside.
    interval: tuple[float, float] | None
    # "less" than the lowest, "more" than the highest share that the horizons can show.
    beyond: str | None
    bound: float | None
    num_outside: int
    # The share of steps times the ratio of metered step times.
    time: float | None


def find_steps(rungs: Sequence[tuple[int, float]], loss: float) -> float | Literal["fewer", "more"] | None:
    """Return how many steps the reference needs to end at a loss.

    Args:
        rungs: Steps and final loss of whole trainings, each with its own schedule, by steps.
        loss: The final loss to reach.

    Returns:
        Steps, interpolated linearly in log steps and log loss between neighbouring horizons; the fewest where
        the losses are not monotone. "fewer" than the shortest or "more" than the longest horizon: nothing is
        extrapolated. None: fewer than two rungs, or a loss that has no logarithm.
    """
    if len(rungs) < 2 or loss <= 0 or any(each <= 0 for _, each in rungs):
        return None
    ordered = sorted(rungs)
    if ordered[0][1] < loss:
        return "fewer"
    for (steps, high), (more_steps, low) in pairwise(ordered):
        if high == loss:
            return float(steps)
        if low <= loss < high:
            part = (math.log(high) - math.log(loss)) / (math.log(high) - math.log(low))
            return math.exp(math.log(steps) + part * (math.log(more_steps) - math.log(steps)))
    return float(ordered[-1][0]) if ordered[-1][1] == loss else "more"


def find_ladders(arenas: Sequence[Arena]) -> tuple[Ladder, ...]:
    """Return the groups of arenas that differ in their horizon only, where the full one is among several."""
    groups: dict[str, dict[float, Arena]] = {}
    for arena in arenas:
        kept = {key: value for key, value in arena.settings.items() if key not in _OF_HORIZON}
        star = str(arena.study.is_workload_modified)
        key = json.dumps([arena.study.workload.name, star, kept], sort_keys=True)
        groups.setdefault(key, {})[arena.study.horizon] = arena
    return tuple(
        Ladder(arenas=dict(sorted(group.items())))
        for group in groups.values()
        if 1.0 in group and len(group) > 1
    )


def measure_shares(ladder: Ladder) -> tuple[Share, ...]:
    """Return every optimizer's share of the reference's steps, in the base arena's order.

    The reference is the base arena's, found by its label at the other horizons; horizons at which it is
    absent or incomplete don't count.
    """
    base = ladder.base
    found = [
        cell
        for arena in ladder.arenas.values()
        for cell in arena.cells
        if cell.label == base.reference.label and cell.is_complete
    ]
    if len(found) < 2 or not base.reference.is_complete:
        return ()
    return tuple(
        _measure(base, cell, found) for cell in base.cells if cell is not base.reference and cell.is_complete
    )


def list_rungs(references: Sequence[Cell], seed: int) -> list[tuple[int, float]]:
    """Return steps and final loss of the reference with one seed, over its horizons."""
    return [(cell.study.budget.steps, cell.losses[seed]) for cell in references if seed in cell.losses]


def _measure(base: Arena, cell: Cell, references: Sequence[Cell]) -> Share:
    seeds = sorted(set(cell.losses).intersection(*(each.losses for each in references)))
    steps = cell.study.budget.steps
    found = [find_steps(list_rungs(references, seed), cell.losses[seed]) for seed in seeds]
    # In logs a half and a double are equally far from the same.
    logs = [math.log(steps / needed) for needed in found if isinstance(needed, float)]
    outside = [-math.inf if needed == "more" else math.inf for needed in found if isinstance(needed, str)]
    center, interval = math.nan, None
    if logs and not outside:
        center, sd = summarise(logs)
        if sd is not None and len(logs) >= MIN_PAIRS:
            low, high = t_interval(center, sd, len(logs), 0.95)
            interval = (math.exp(low), math.exp(high))
    elif outside:
        # The middle seed is known although its neighbours are not; a mean would leave the extremes out.
        center = statistics.median([*logs, *outside])
    lengths = [each.study.budget.steps for each in references]
    bounds = {-math.inf: ("less", steps / max(lengths)), math.inf: ("more", steps / min(lengths))}
    beyond, bound = bounds.get(center, (None, None))
    share = math.exp(center) if math.isfinite(center) else None
    ratio = _compare_step_times(cell, base.reference)
    return Share(
        cell=cell,
        n=len(seeds),
        steps=share,
        interval=interval,
        beyond=beyond,
        bound=bound,
        num_outside=len(outside),
        time=share * ratio if share is not None and ratio is not None else None,
    )


def _compare_step_times(cell: Cell, reference: Cell) -> float | None:
    pace = compare_steps(cell, reference)
    return None if pace is None else pace.ratio
