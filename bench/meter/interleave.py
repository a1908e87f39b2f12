"""Arms that take turns: what disturbs the machine for a while disturbs all of them alike."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from bench.cost import Ratio
from bench.meter.time import Read, Step, time_block

# With fewer, not even the whole range of the rounds covers the median in 95 of 100 cases.
MIN_ROUNDS = 6
_LEVEL = 0.95


def _nothing() -> None:
    return


@dataclass
class Arm:
    """One kind of step among those that take turns.

    Attributes:
        step: Takes the step of a number.
        enter: Puts the process into the state that the steps want, such as number formats; not timed.
        period: Steps after which the work repeats: a block is a multiple.
        num_taken: Steps so far, which is the next one's number.
        numbers: Of the timed steps.
        times_s: What the timed steps took, block by block.
    """

    step: Step
    enter: Callable[[], object] = _nothing
    period: int = 1
    num_taken: int = 0
    numbers: list[int] = field(default_factory=list)
    times_s: list[list[float]] = field(default_factory=list)

    def take(self, num: int) -> range:
        """Take steps that are not timed; return their numbers."""
        numbers = self._next(num)
        self.enter()
        for number in numbers:
            self.step(number)
        return numbers

    def time(self, num: int, device: str) -> tuple[range, Read]:
        """Take timed steps, which are not kept; return their numbers and what reads their times."""
        numbers = self._next(num)
        self.enter()
        return numbers, time_block(self.step, numbers, device)

    def block_means_s(self) -> np.ndarray:
        """Return the mean step of each block, (num_rounds,)."""
        return np.array([np.mean(block) for block in self.times_s])

    def _next(self, num: int) -> range:
        numbers = range(self.num_taken, self.num_taken + num)
        self.num_taken += num
        return numbers


def take_turns(
    arms: Sequence[Arm],
    *,
    num_rounds: int,
    block_steps: Sequence[int],
    device: str,
    look: Callable[[], object] = _nothing,
    orders: Sequence[tuple[int, ...]] | None = None,
) -> None:
    """Let arms take a block of steps each, round after round, and keep the times with each arm.

    The order changes from round to round so that every arm follows every other equally often: what an arm
    leaves behind (caches, heat) favours none. Each block starts with a step or two that are not timed.
    Nothing waits for the device inside a round.

    Args:
        arms: At least one.
        num_rounds: A multiple of the number of orders is balanced.
        block_steps: Timed steps of each arm's block.
        device: Device type the steps run on.
        look: Called in each round while the device is still busy.
        orders: Places of the arms in a round, one order after the other; None: as `list_orders`. An arm that
            stands twice in an order takes two blocks a round.
    """
    turns = itertools.cycle(orders or list_orders(len(arms)))
    for _, order in zip(range(num_rounds), turns, strict=False):
        reads: list[tuple[Arm, range, Read]] = []
        for place in order:
            arm = arms[place]
            arm.take(settling_steps(block_steps[place], device))
            reads.append((arm, *arm.time(block_steps[place], device)))
        look()
        for arm, numbers, read in reads:
            arm.numbers += numbers
            arm.times_s.append(read())


def list_orders(num: int) -> list[tuple[int, ...]]:
    """Return orders of so many arms in which each comes right after each other one equally often.

    Source: Williams, 1949, "Experimental designs balanced for the estimation of residual effects of
    treatments": a zigzag and its rotations, and all of them backwards where the number is odd.
    """
    zigzag = [(step + 1) // 2 * (1 if step % 2 else -1) for step in range(num)]
    forwards = [tuple((place + start) % num for place in zigzag) for start in range(num)]
    if num % 2 == 0 or num == 1:
        return forwards
    return forwards + [order[::-1] for order in forwards]


def settling_steps(block_steps: int, device: str) -> int:
    """Return how many steps go before a block: its caches, and a GPU's queue, are filled by then.

    A step so long that few make a block fills them in a small part of itself.
    """
    if device == "cuda":
        return 2
    return 1 if block_steps >= 3 else 0


def plan_rounds(
    steps_s: Sequence[float],
    periods: Sequence[int],
    *,
    block_s: float,
    max_rounds: int,
    seconds: float,
    device: str,
) -> tuple[int, list[int]]:
    """Return how many rounds there is time for, and the steps of each arm's block.

    Args:
        steps_s: What a step of each arm takes, about.
        periods: Each arm's update period: blocks hold whole ones.
        block_s: Wanted length of a block.
        max_rounds: However short the steps.
        seconds: Wanted length of all rounds together; six rounds are taken however long.
        device: Device type the steps run on.
    """
    # A GPU's block has several steps, over which its queue evens out.
    fewest = 10 if device == "cuda" else 1
    blocks = []
    for step_s, period in zip(steps_s, periods, strict=True):
        wanted = max(fewest, math.ceil(block_s / max(step_s, 1e-7)))
        blocks.append(math.ceil(wanted / period) * period)
    round_s = sum(
        step_s * (block + settling_steps(block, device))
        for step_s, block in zip(steps_s, blocks, strict=True)
    )
    affordable = min(max_rounds, int(seconds / max(round_s, 1e-7)))
    num_orders = len(list_orders(len(blocks)))
    # Whole sets of orders, where there is time for one.
    return max(MIN_ROUNDS, affordable // num_orders * num_orders), blocks


def compare(arm: Arm, *others: Arm) -> Ratio:
    """Return one arm's step time over that of others, from rounds that all took part in.

    Args:
        arm: With as many blocks in each round.
        others: Their mean is what the arm is compared with.
    """
    num_rounds = min(len(each.times_s) for each in (arm, *others))
    means_s = [each.block_means_s().reshape(num_rounds, -1).mean(axis=1) for each in (arm, *others)]
    ratios = means_s[0] / np.mean(means_s[1:], axis=0)
    median, low, high = median_interval(ratios)
    return Ratio(median=median, low=low, high=high, num_rounds=len(ratios))


def median_interval(values: Sequence[float] | np.ndarray) -> tuple[float, float, float]:
    """Return the median and an interval that covers the true one in at least 95 of 100 samples.

    The ends are the k-th smallest and the k-th largest value, k as large as the binomial distribution allows:
    nothing is assumed but independent values of one continuous distribution.

    Source: Thompson, 1936, "On confidence ranges for the median and other expectation distributions for
    populations of unknown distribution form", equation for the ranges of order statistics.

    Args:
        values: At least `MIN_ROUNDS`.
    """
    ordered = np.sort(np.asarray(values, dtype=float))
    num = len(ordered)
    assert num >= MIN_ROUNDS, f"{num} values have no 95 % interval"
    rank, missed = 0, 0.0
    # P(fewer than k of num values fall below the median), on either side.
    while 2 * (missed + math.comb(num, rank) / 2**num) <= 1 - _LEVEL:
        missed += math.comb(num, rank) / 2**num
        rank += 1
    return float(np.median(ordered)), float(ordered[rank - 1]), float(ordered[num - rank])
