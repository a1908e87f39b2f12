"""Arms take turns fairly, and the interval of their ratio covers what it should."""

from __future__ import annotations

import itertools
import time
from collections import Counter

import numpy as np
import pytest
import torch

from bench.meter.interleave import (
    MIN_ROUNDS,
    Arm,
    compare,
    list_orders,
    median_interval,
    plan_rounds,
    take_turns,
)


@pytest.mark.parametrize("num", [1, 2, 3, 4, 5])
def test_orders_are_balanced(num: int) -> None:
    orders = list_orders(num)
    assert all(sorted(order) == list(range(num)) for order in orders)
    followers = Counter(pair for order in orders for pair in itertools.pairwise(order))
    # Each arm comes right after each other one, and takes each place, equally often.
    assert set(followers) == set(itertools.permutations(range(num), 2))
    assert len(set(followers.values())) <= 1
    places = Counter((place, arm) for order in orders for place, arm in enumerate(order))
    assert len(places) == num * num and len(set(places.values())) == 1


class Machine:
    """A machine that slows down by half as time goes on; steps of each arm move its clock."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.log: list[tuple[str, int]] = []

    def make_arm(self, name: str, step_s: float) -> Arm:
        def step(number: int) -> None:
            self.log.append((name, number))
            self.now_s += step_s * (1 + self.now_s / 1000)

        return Arm(step=step, enter=lambda: self.log.append((name, -1)))


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine()
    torch.set_num_threads(1)
    monkeypatch.setattr(time, "thread_time", lambda: made.now_s)
    return made


def test_a_machine_that_slows_down_disturbs_no_ratio(machine: Machine) -> None:
    arms = [machine.make_arm("slow", 2.0), machine.make_arm("quick", 1.0)]
    take_turns(arms, num_rounds=12, block_steps=[10, 10], device="cpu")
    ratio = compare(*arms)
    assert ratio.num_rounds == 12 and ratio.low <= 2.0 <= ratio.high
    assert ratio.median == pytest.approx(2.0, rel=0.02)
    # One after the other it would have been far off.
    means_s = arms[0].block_means_s()
    assert means_s[-1] / means_s[0] > 1.3


def test_an_arm_may_take_two_blocks_a_round(machine: Machine) -> None:
    arms = [machine.make_arm(name, step_s) for name, step_s in (("a", 3.0), ("b", 1.0), ("c", 2.0))]
    orders = [(0, 1, 0, 2), (0, 2, 0, 1)]
    take_turns(arms, num_rounds=8, block_steps=[3, 3, 3], device="cpu", orders=orders)
    assert [len(arm.times_s) for arm in arms] == [16, 8, 8]
    blocks = [name for name, number in machine.log if number == -1]
    # Each block sets its state up twice: before the step that settles it, and before those on the clock.
    assert "".join(blocks[:16:2]) == "abacacab"
    ratio = compare(*arms)
    # Over the mean of the two others, 1.5.
    assert ratio.num_rounds == 8 and ratio.median == pytest.approx(2.0, rel=0.02)


def test_blocks_settle_first_and_know_their_numbers(machine: Machine) -> None:
    arm = machine.make_arm("a", 1.0)
    arm.take(2)
    take_turns([arm], num_rounds=2, block_steps=[5], device="cpu")
    assert arm.numbers == [3, 4, 5, 6, 7, 9, 10, 11, 12, 13]
    assert [len(block) for block in arm.times_s] == [5, 5] and arm.num_taken == 14
    # Its state is set up before it takes anything.
    assert machine.log[0] == ("a", -1) and machine.log[3:5] == [("a", -1), ("a", 2)]


def test_rounds_fit_the_time_and_blocks_hold_whole_periods() -> None:
    def plan(*steps_s: float, periods: tuple[int, ...] = (1, 1, 1), seconds: float = 1.0) -> object:
        return plan_rounds(steps_s, periods, block_s=0.01, max_rounds=48, seconds=seconds, device="cpu")

    rounds, blocks = plan(0.001, 0.001, 0.001)
    assert blocks == [10, 10, 10] and rounds == 30
    assert plan(0.001, 0.001, 0.001, periods=(7, 1, 1))[1] == [14, 10, 10]
    # However long a step is, there are enough rounds for an interval, and enough steps for a period.
    assert plan(3.0, 1.0, 1.0, periods=(4, 1, 1)) == (MIN_ROUNDS, [4, 1, 1])
    assert plan(1e-6, 1e-6, 1e-6, seconds=100.0)[0] == 48


def test_the_interval_is_made_of_order_statistics() -> None:
    assert median_interval([5.0, 1.0, 2.0, 6.0, 3.0, 4.0]) == (3.5, 1.0, 6.0)
    # Of 20 values the 6th from either end: 95.9 % by the binomial distribution.
    assert median_interval(np.arange(1.0, 21.0)) == (10.5, 6.0, 15.0)


@pytest.mark.parametrize("num", [6, 18, 48])
def test_the_interval_covers_the_median_as_often_as_it_says(num: int) -> None:
    """Ratios of skewed times with bursts, as a busy machine gives them; their true median is 1."""
    random = np.random.default_rng(num)

    def draw() -> np.ndarray:
        times = 1 + random.exponential(0.1, (4000, num))
        return np.where(random.random((4000, num)) < 0.1, times * 3, times)

    intervals = [median_interval(row) for row in draw() / draw()]
    share = np.mean([low <= 1 <= high for _, low, high in intervals])
    # 4000 samples tell 95 % from 94 %; the interval is at least as wide as it has to be.
    assert 0.94 <= share <= 0.99
    assert np.median([high - low for _, low, high in intervals]) < 2.0
