"""The headline: a cell's step, timed in turns with the reference and the reference again."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from bench.cost import Clocks, Meter, Reference
from bench.meter.cell import Cell
from bench.meter.clocks import ClockLog
from bench.meter.interleave import Arm, compare, plan_rounds, take_turns
from bench.meter.period import find_period
from bench.meter.time import StepTimes, summarise

# Fewer would leave first calls and lazy state on the clock.
_FEWEST_WARMUP = 3
# Steps that are looked at, at most, to tell how long one takes and whether some are heavy.
_MOST_PROBED = 100
# A GPU's clocks have settled when two blocks in a row agree so well; they get so many times the wanted time.
_SETTLED, _BLOCK_S, _PATIENCE = 0.02, 0.1, 5
# The cell, the reference, and the reference again. A block that follows one of the same engine finds caches
# filled, so cell and reference always follow one another.
_ORDERS = ((0, 1, 0, 2), (0, 2, 0, 1))
# Where in memory a copy of a model lies moves its CPU step by some tenths of a per cent (measured; Mytkowicz
# et al. 2009, "Producing wrong data without doing anything obviously wrong"). So the rounds are shared among
# this many copies, whose differences are then within the interval.
_COPIES = 6
# A new copy goes on counting its steps from a multiple of this: whole update periods of most lengths.
_MANY_PERIODS = 5040
# Where six rounds would take so many times the wanted whole, the cell is timed alone, in three blocks.
_TOO_LONG, _ALONE_ROUNDS = 30, 3


@dataclass(frozen=True)
class Timing:
    """What the rounds gave."""

    steps: StepTimes
    period: int
    reference: Reference | None
    # Median step of the same cell without compiling, where there was one.
    eager_s: float | None
    clocks: Clocks | None
    notes: tuple[str, ...]


def warm_up(cell: Cell, meter: Meter) -> None:
    """Take steps until they are steady: lazy state, kernel choices, caches, and a GPU's clocks.

    Long steps are steady sooner: those beyond the third are left out once they have taken `meter.seconds`.
    """
    start = time.perf_counter()
    for number in range(meter.warmup_steps):
        if number >= _FEWEST_WARMUP and time.perf_counter() - start > meter.seconds:
            break
        cell.arm.take(1)
    if cell.run.device == "cuda":
        _settle(cell.arm, meter.warmup_s)


def time_cell(
    cell: Cell,
    reference: Cell | None,
    eager: Cell | None,
    meter: Meter,
    make_again: Callable[[], tuple[Cell, Cell]] | None = None,
) -> Timing:
    """Time a cell's steps, in rounds with its reference where there is one.

    Args:
        cell: Warmed up.
        reference: Warmed up; None: it does not fit beside the cell.
        eager: The same cell uncompiled, warmed up, where the cell is compiled.
        meter: For how long.
        make_again: Makes another copy of the cell and of its reference, warmed up; None: these are all.
    """
    device, log, notes = cell.run.device, ClockLog(), []
    probed_s, numbers = _probe(cell.arm, meter, device)
    cell.arm.period = find_period(cell.optimizer, probed_s, numbers)
    arms, steps_s = [cell.arm], [statistics.median(probed_s)]
    if reference is not None:
        reference_s = statistics.median(_probe(reference.arm, meter, device)[0])
        arms, steps_s = [*arms, reference.arm, reference.make_arm()], [*steps_s, *[reference_s] * 2]
    if eager is not None:
        arms, steps_s = (
            [*arms, eager.arm],
            [*steps_s, statistics.median(_probe(eager.arm, meter, device)[0])],
        )
    if len(arms) > 1 and 6 * sum(steps_s) > _TOO_LONG * meter.seconds:
        notes.append(f"reference: steps of {max(steps_s):.3g} s are too long to take turns; timed alone")
        arms, steps_s = arms[:1], steps_s[:1]
    # The cell takes two blocks a round where it has a reference.
    doubled = arms[:1] * (reference is not None and len(arms) > 2)
    num_rounds, blocks = plan_rounds(
        [*steps_s, *steps_s[: len(doubled)]],
        [arm.period for arm in (*arms, *doubled)],
        block_s=meter.block_s,
        max_rounds=meter.rounds,
        seconds=meter.seconds,
        device=device,
    )
    if 6 * sum(steps_s) > _TOO_LONG * meter.seconds:
        num_rounds = _ALONE_ROUNDS
    look = log.look if device == "cuda" else lambda: None
    others = tuple(range(3, len(arms)))
    orders = [order + others for order in _ORDERS] if doubled else None
    # A GPU's memory is handed out in large pieces, so places differ less than copies cost.
    is_copied = bool(doubled) and make_again is not None and device == "cpu"
    first = cell.arm.step, cell.arm.enter
    shares = _share(num_rounds, _COPIES if is_copied else 1)
    for number, rounds in enumerate(shares):
        if number and is_copied and make_again is not None:
            start = time.perf_counter()
            _replace(arms, *make_again())
            # What takes long to make would take most of the measurement.
            is_copied = time.perf_counter() - start <= 2 * meter.seconds / _COPIES
        take_turns(arms, num_rounds=rounds, block_steps=blocks, device=device, look=look, orders=orders)
    # Whoever goes on with the cell goes on with the cell that was given.
    cell.arm.step, cell.arm.enter = first
    times_s = [time_s for block in cell.arm.times_s for time_s in block]
    period = find_period(cell.optimizer, times_s, cell.arm.numbers)
    if cell.arm.period % period and len(arms) > 1:
        notes.append(f"reference: blocks of {blocks[0]} steps do not hold whole update periods of {period}")
    if device == "cuda" and log.trouble is not None:
        notes.append(f"clocks: {log.trouble}")
    compared = None
    if doubled:
        own = [time_s for arm in arms[1:3] for block in arm.times_s for time_s in block]
        compared = Reference(
            step_p50_s=statistics.median(own),
            ratio=compare(arms[0], arms[1], arms[2]),
            noise=compare(arms[2], arms[1]),
        )
    is_eager_timed = eager is not None and arms[-1] is eager.arm
    return Timing(
        steps=summarise(times_s, cell.arm.numbers, period),
        period=period,
        reference=compared,
        eager_s=statistics.median(t for block in arms[-1].times_s for t in block) if is_eager_timed else None,
        clocks=log.conclude() if device == "cuda" else None,
        notes=tuple(notes),
    )


def _share(num: int, parts: int) -> list[int]:
    """Return even numbers of rounds, so that both orders are in each part; the last takes the rest."""
    each = max(2, num // parts // 2 * 2)
    shares = [each] * max(1, min(parts, num // each))
    return [*shares[:-1], num - sum(shares[:-1])]


def _replace(arms: list[Arm], cell: Cell, reference: Cell) -> None:
    """Let the arms go on with other copies of their steps."""
    for arm, copy in zip(arms[:3], (cell, reference, reference), strict=True):
        arm.step, arm.enter = copy.arm.step, copy.arm.enter
        arm.num_taken = math.ceil(arm.num_taken / _MANY_PERIODS) * _MANY_PERIODS + copy.arm.num_taken


def _probe(arm: Arm, meter: Meter, device: str) -> tuple[list[float], list[int]]:
    """Return what some steps take, one by one, and their numbers; a tenth of the wanted time is spent."""
    numbers, read = arm.time(2, device)
    times_s, taken = read(), list(numbers)
    num = min(_MOST_PROBED, int(0.1 * meter.seconds / max(min(times_s), 1e-7)))
    if num > 0:
        numbers, read = arm.time(num, device)
        times_s, taken = times_s + read(), taken + list(numbers)
    return times_s, taken


def _settle(arm: Arm, seconds: float) -> None:
    """Keep a GPU busy until it has been for so long and two blocks in a row take the same."""
    start, before_s = time.perf_counter(), 0.0
    num = 5
    while (busy_s := time.perf_counter() - start) < _PATIENCE * seconds:
        times_s = arm.time(num, "cuda")[1]()
        now_s = statistics.median(times_s)
        if busy_s >= seconds and abs(now_s - before_s) <= _SETTLED * now_s:
            break
        before_s, num = now_s, max(5, int(_BLOCK_S / max(now_s, 1e-6)))
