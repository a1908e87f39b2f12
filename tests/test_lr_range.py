"""A range test is a plain run; what is read from it lies where the losses say, in whatever unit they come."""

from __future__ import annotations

import math
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.effort import LrRange
from bench.errors import SpecError
from bench.identity import run_id
from bench.lr_range import ABOVE, BELOW, NUM_POINTS, NUM_STEPS, SPARE, make_tests, read_tests, suggest
from bench.schedule import check_schedule, lr_factors
from bench.seeds import SEARCH_BASE
from bench.spec import Schedule
from bench.train import train
from tests.composing import compose_run
from tests.records import MACHINE, make_run

LRS = [10 ** (index / 4 - 6) for index in range(25)]
# Level, a fall that is steepest at 1e-2, lowest at 10 ** -1.5, then a rise.
VALLEY: list[float | None] = [2.3] * 12 + [
    2.28,
    2.2,
    2.05,
    1.8,
    1.4,
    1.1,
    1.0,
    1.3,
    2.0,
    3.0,
    9.0,
    30.0,
    None,
]


def test_a_test_is_plain_runs_over_the_declared_range_and_beyond() -> None:
    run = make_run()
    declared: LrRange = run.optimizer.search.lr
    tests = make_tests(run, 3)
    assert [one.seed for one in tests] == [SEARCH_BASE, SEARCH_BASE + 1, SEARCH_BASE + 2]
    assert len({run_id(one) for one in tests}) == 3
    for one in tests:
        check_schedule(one.schedule)
        assert isinstance(one.optimizer.lr, float)
        lrs = [one.optimizer.lr * factor for factor in lr_factors(one.schedule, one.budget.steps, 7)]
        assert lrs[0] == pytest.approx(declared.low / BELOW) and lrs[-1] == pytest.approx(
            declared.high * ABOVE
        )
        ratios = [after / before for before, after in pairwise(lrs)]
        assert min(ratios) == pytest.approx(max(ratios)) and len(lrs) == NUM_STEPS


def test_the_rise_needs_a_floor_and_no_warm_up() -> None:
    for floor, warmup in ((0.0, 0.0), (0.1, 0.2)):
        with pytest.raises(SpecError, match="exponential rises from a floor > 0"):
            check_schedule(Schedule(name="exponential", warmup=warmup, floor=floor, interval="step"))


def test_a_valley_by_hand() -> None:
    # Of each point and its neighbours the median counts: the lowest one, 1.1, is there a point early.
    assert suggest(LRS, [VALLEY]) == pytest.approx((10**-2.0, 10**-2.75, SPARE * 10**-1.75))
    # A seed that is lost at once takes the rest with it; one that is alike changes nothing.
    assert suggest(LRS, [VALLEY, VALLEY]) == suggest(LRS, [VALLEY])
    assert suggest(LRS, [VALLEY, [2.3, *[None] * 24]]) is None


@pytest.mark.parametrize("losses", [[2.3] * 25, [2.3 + index for index in range(25)], [None] * 25])
def test_where_nothing_falls_nothing_is_suggested(losses: list[float | None]) -> None:
    assert suggest(LRS, [losses]) is None


@given(st.lists(st.floats(0.01, 10), min_size=25, max_size=25), st.integers(-9, 9), st.floats(1e-3, 1e3))
def test_units_of_loss_and_lr_do_not_matter(losses: list[float], power: int, factor: float) -> None:
    # A power of two, so that no rounding decides a tie.
    unit = 2.0**power
    found = suggest(LRS, [losses])
    moved = suggest([lr * factor for lr in LRS], [[loss * unit for loss in losses]])
    assert (found is None) == (moved is None)
    if found is not None and moved is not None:
        suggested, low, high = found
        assert low <= suggested <= high
        assert [each / factor for each in moved] == pytest.approx(list(found))


@pytest.mark.parametrize(("optimizer", "tuned"), [("sgd", 1.0), ("momentum", 0.0949), ("adamw", 0.00316)])
def test_its_range_holds_the_tuned_lr(optimizer: str, tuned: float) -> None:
    """Tuned by search=lr on this workload, full budget."""
    run = compose_run(f"optimizer={optimizer}", "precision=fp32", workload="digits_mlp")
    found = read_tests([train(one, MACHINE)[0] for one in make_tests(run, 2)])
    assert found.suggested is not None and found.low is not None and found.high is not None
    assert found.low <= tuned <= found.high
    assert abs(math.log10(found.suggested / tuned)) < 1
    assert len(found.lrs) == NUM_POINTS and len(found.losses) == 2
    assert msgspec.json.decode(msgspec.json.encode(found), type=type(found)) == found
