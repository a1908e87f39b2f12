"""The lr range test: one short run at a rising lr, and what its losses say of the lr to search around."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import median

import msgspec

from bench.effort import RangeTest
from bench.result import Result
from bench.seeds import SEARCH_BASE
from bench.spec import Run, Schedule

# Steps of a test, and points of its curve: means over so many steps each.
NUM_STEPS, NUM_POINTS = 100, 25
# The test begins so far below the declared range, and ends so far above: what is outside may be best, too.
BELOW, ABOVE = 100.0, 10.0
# Share of the whole fall at which the loss has begun to fall.
BEGUN = 0.05
# How far the range goes beyond the lr with the lowest loss, as a factor.
SPARE = 10.0
# Losses this many times the first one are as good as infinite.
LOST = 4.0


def make_tests(run: Run, num_seeds: int) -> tuple[Run, ...]:
    """Return the runs of a range test: plain runs, which any engine trains and the store keeps.

    Args:
        run: A resolved run; its optimizer's declared range is what is tested, with room on either side.
        num_seeds: Search seeds.

    Source: Smith 2017, arXiv:1506.01186, section 3.3. Deviation: the lr rises exponentially and once, over
    training losses, as in Howard and Gugger's fastai (2020, arXiv:2002.04688); it ends where it diverges.
    """
    declared = run.optimizer.search.lr
    low, high = declared.low / BELOW, declared.high * ABOVE
    schedule = Schedule(name="exponential", warmup=0.0, floor=low / high, interval="step")
    budget = msgspec.structs.replace(run.budget, steps=NUM_STEPS, evaluations=NUM_POINTS)
    optimizer = msgspec.structs.replace(run.optimizer, lr=high)
    return tuple(
        msgspec.structs.replace(
            run, optimizer=optimizer, schedule=schedule, budget=budget, seed=SEARCH_BASE + index
        )
        for index in range(num_seeds)
    )


def read_tests(results: Sequence[Result]) -> RangeTest:
    """Return what the runs of `make_tests` gave.

    Args:
        results: One a seed, however they ended; a run that has no curve has no losses.
    """
    run = results[0].run
    lr, steps = run.optimizer.lr, run.budget.steps
    assert not isinstance(lr, str) and run.schedule.name == "exponential", run.schedule
    num_points = run.budget.evaluations
    ends = [0, *(round(steps * k / num_points) for k in range(1, num_points + 1))]
    # The middle of each window, on a logarithmic scale.
    middles = [(before + after - 1) / 2 / (steps - 1) for before, after in pairwise(ends)]
    lrs = [lr * run.schedule.floor ** (1 - middle) for middle in middles]
    losses = []
    for result in results:
        known = dict(zip(result.curve.step, result.curve.train_loss, strict=True))
        losses.append(tuple(known.get(end) for end in ends[1:]))
    found = suggest(lrs, losses)
    return RangeTest(
        runs=tuple(result.id for result in results),
        lrs=tuple(lrs),
        losses=tuple(losses),
        num_steps=steps,
        suggested=None if found is None else found[0],
        low=None if found is None else found[1],
        high=None if found is None else found[2],
    )


def suggest(
    lrs: Sequence[float], losses: Sequence[Sequence[float | None]]
) -> tuple[float, float, float] | None:
    """Return the lr to try first, and the least and the largest that are worth a trial.

    Suggested is the lr at which the loss falls most steeply. The range begins where it begins to fall, and
    ends some way beyond where it is lowest: a test has few steps at each lr, so it turns before its time.

    Args:
        lrs: Rising.
        losses: A row a seed; None: it diverged.

    Returns:
        None where the loss never falls.
    """
    smooth = smoothen(losses)
    if len(smooth) < 3:
        return None
    start, lowest = smooth[0], min(smooth)
    fall = start - lowest
    if fall <= 0.01 * abs(start):
        return None
    best = smooth.index(lowest)
    begun = next(index for index, loss in enumerate(smooth) if loss <= start - BEGUN * fall)
    slopes = [
        (smooth[index + 1] - smooth[index - 1], index)
        for index in range(max(1, begun), max(begun, best) + 1)
        if index + 1 < len(smooth)
    ]
    steepest = min(slopes)[1] if slopes else begun
    return lrs[steepest], lrs[begun], SPARE * lrs[best]


def smoothen(losses: Sequence[Sequence[float | None]]) -> list[float]:
    """Return the mean over seeds up to where one is lost, each point the median of its neighbourhood."""
    means: list[float] = []
    for row in zip(*losses, strict=True):
        known = [loss for loss in row if loss is not None and math.isfinite(loss)]
        if len(known) < len(row) or (means and sum(known) / len(row) > LOST * abs(means[0])):
            break
        means.append(math.fsum(known) / len(row))
    return [median(means[max(0, index - 1) : index + 2]) for index in range(len(means))]
