"""Step times against one another: by the step they were both interleaved with, never by two clocks apart."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from bench.cost import Ratio
from bench.report.sweep import Cell, finite
from bench.report.variant import show_precision
from bench.result import Cost


@dataclass(frozen=True, kw_only=True)
class Pace:
    """One step time over another."""

    ratio: float
    # 95 %; None where the two were not measured beside the same reference step.
    interval: tuple[float, float] | None
    # How far a step may lie from itself in such a measurement, 0.03 for 3 %; None: not measured.
    noise: float | None

    @property
    def is_noise(self) -> bool:
        """Whether nothing tells the two apart: the interval holds 1, or 1 is no further than the noise."""
        holds_one = self.interval is not None and self.interval[0] <= 1 <= self.interval[1]
        return holds_one or (self.noise is not None and abs(math.log(self.ratio)) <= math.log1p(self.noise))


def find_obstacle(cell: Cell) -> str | None:
    """Return why nothing is said of a cell's speed although it was measured; None where it may be."""
    cost = cell.cost
    if cost is None or cost.is_fast:
        return None
    return f"no speed claim: no hardware support for {show_precision(cell)} on this {cost.run.device}"


def step_s(cell: Cell) -> float | None:
    """Return a cell's mean step time in seconds; None where there is none that says anything."""
    if cell.cost is None or find_obstacle(cell) is not None:
        return None
    return finite(cell.cost.step_mean_s)


def drift_of(cell: Cell, cells: Sequence[Cell]) -> float:
    """Return how slow the machine was while a cell was measured: the step they all share, over its median.

    Args:
        cell: Divide its step time by this to compare it with the others' as times.
        cells: What it stands beside; those without the same reference step are left out.
    """
    if cell.cost is None or cell.cost.reference is None:
        return 1.0
    shared = [each.cost for each in cells if each.cost and _share_reference(each.cost, cell.cost)]
    return cell.cost.reference.step_p50_s / statistics.median(
        cost.reference.step_p50_s for cost in shared if cost.reference is not None
    )


def noise_of(cost: Cost) -> float | None:
    """Return how far the reference step lay from itself, as a share: the further end of its 95 % interval."""
    if cost.reference is None:
        return None
    noise = cost.reference.noise
    return math.expm1(max(abs(math.log(noise.low)), abs(math.log(noise.high))))


def compare_to_reference(cell: Cell) -> Pace | None:
    """Return a cell's step over the fixed reference step of its model; None where that was not measured."""
    if cell.cost is None or cell.cost.reference is None or find_obstacle(cell) is not None:
        return None
    ratio = cell.cost.reference.ratio
    return Pace(ratio=ratio.median, interval=(ratio.low, ratio.high), noise=noise_of(cell.cost))


def compare_steps(mine: Cell, base: Cell) -> Pace | None:
    """Return the step time of one cell over another's; None where a side has none.

    Both ratios to the same reference step, divided: what the machine did meanwhile cancels. Their intervals
    are combined on the log scale, as those of independent measurements: the root of the sum of squares, to
    either side. Without a common reference the mean times are divided, and there is no interval.
    """
    times = step_s(mine), step_s(base)
    if not times[0] or not times[1]:
        return None
    assert mine.cost is not None and base.cost is not None
    if not _share_reference(mine.cost, base.cost):
        return Pace(ratio=times[0] / times[1], interval=None, noise=None)
    assert mine.cost.reference is not None and base.cost.reference is not None
    own, other = mine.cost.reference.ratio, base.cost.reference.ratio
    log = math.log(own.median) - math.log(other.median)
    # To the low side with the low end of the one and the high end of the other.
    down = math.hypot(_reach(own, own.low), _reach(other, other.high))
    up = math.hypot(_reach(own, own.high), _reach(other, other.low))
    return Pace(
        ratio=math.exp(log),
        interval=(math.exp(log - down), math.exp(log + up)),
        noise=max(noise_of(mine.cost) or 0.0, noise_of(base.cost) or 0.0),
    )


def average_paces(paces: Sequence[Pace]) -> Pace | None:
    """Return the geometric mean of ratios, in which a half and a double cancel; None without any.

    Intervals are combined as those of independent measurements; the noise stays that of the worst.
    """
    if not paces:
        return None
    num = len(paces)
    log = math.fsum(math.log(pace.ratio) for pace in paces) / num
    intervals = [pace.interval for pace in paces]
    noises = [pace.noise for pace in paces if pace.noise is not None]
    interval = None
    if None not in intervals:
        reaches = [
            [abs(math.log(pace.ratio) - math.log(pace.interval[side])) for pace in paces if pace.interval]
            for side in (0, 1)
        ]
        interval = (
            math.exp(log - math.hypot(*reaches[0]) / num),
            math.exp(log + math.hypot(*reaches[1]) / num),
        )
    return Pace(ratio=math.exp(log), interval=interval, noise=max(noises, default=None))


def format_pace(pace: Pace) -> str:
    """Return a ratio as `1.31 [1.28, 1.35]`, and whether that is within noise."""
    digits = 2 if pace.ratio < 10 else 1
    text = f"{pace.ratio:.{digits}f}"
    if pace.interval is not None:
        text += f" [{pace.interval[0]:.{digits}f}, {pace.interval[1]:.{digits}f}]"
    return text + ", within noise" * pace.is_noise


def _reach(ratio: Ratio, bound: float) -> float:
    return abs(math.log(bound) - math.log(ratio.median))


def _share_reference(mine: Cost, base: Cost) -> bool:
    """Return whether two cells were measured beside the same step: same model, data, batch and machine."""
    if mine.reference is None or base.reference is None:
        return False
    return _name_reference(mine) == _name_reference(base)


def _name_reference(cost: Cost) -> tuple[object, ...]:
    run, machine = cost.run, cost.machine
    where = run.device, run.threads, machine.device_name, machine.torch
    return run.data, run.model, run.budget.batch_size, where
