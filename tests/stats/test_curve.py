"""Curves of a search: bounded by what ran, and the same in whatever order it ran."""

from __future__ import annotations

import math
import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.stats import expected_best, lr_sensitivity, usable_lr_width

TRIALS = st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=20)
GRIDS = st.lists(st.one_of(st.none(), st.floats(1e-3, 1e3)), min_size=1, max_size=12).map(
    lambda losses: [(10 ** (index / 2 - 3), loss) for index, loss in enumerate(losses)]
)
Points = list[tuple[float, float | None]]


@given(TRIALS)
def test_the_best_of_more_trials_is_no_worse(losses: list[float]) -> None:
    curve = [expected_best(losses, k) for k in range(1, len(losses) + 1)]
    assert curve[0] == pytest.approx(math.fsum(losses) / len(losses), abs=1e-6)
    assert all(more <= fewer + 1e-6 for fewer, more in pairwise(curve))
    assert all(min(losses) - 1e-6 <= value <= max(losses) + 1e-6 for value in curve)


@given(TRIALS, st.integers(1, 4))
def test_it_is_the_mean_over_all_draws(losses: list[float], k: int) -> None:
    losses = losses[:5]
    k = min(k, len(losses))
    draws = [[]]
    for _ in range(k):
        draws = [[*draw, loss] for draw in draws for loss in losses]
    expected = math.fsum(min(draw) for draw in draws) / len(draws)
    assert expected_best(losses, k) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("k", [0, 4])
def test_nothing_is_said_beyond_what_ran(k: int) -> None:
    with pytest.raises(ValueError, match="1 to 3"):
        expected_best([1.0, 2.0, 3.0], k)


@given(GRIDS, st.floats(0.1, 3), st.floats(1, 2))
def test_curves_know_no_order_and_no_lr_unit(points: Points, decades: float, factor: float) -> None:
    shuffled = list(points)
    random.Random(0).shuffle(shuffled)
    assert lr_sensitivity(shuffled, decades) == lr_sensitivity(points, decades)
    assert usable_lr_width(shuffled) == usable_lr_width(points)
    moved = [(lr * factor, loss) for lr, loss in points]
    assert usable_lr_width(moved) == pytest.approx(usable_lr_width(points), abs=1e-6)


@given(GRIDS)
def test_sensitivity_lies_between_none_and_the_worst(points: Points) -> None:
    known = [loss for _, loss in points if loss is not None]
    found = lr_sensitivity(points)
    assert found is None or 0 <= found <= (max(known) - min(known)) * (1 + 1e-9)
    assert found is not None or len(points) < 2 or not known


@given(GRIDS, st.floats(0, 0.5), st.floats(0, 0.5))
def test_more_tolerance_is_no_narrower_and_never_wider_than_tried(
    points: Points, one: float, other: float
) -> None:
    low, high = sorted((one, other))
    few, many = usable_lr_width(points, low), usable_lr_width(points, high)
    if few is None or many is None:
        assert all(loss is None for _, loss in points)
        return
    assert 0 <= few <= many + 1e-9
    assert many <= math.log10(points[-1][0] / points[0][0]) + 1e-9


def test_sensitivity_by_hand() -> None:
    valley = [(1e-3, 3.0), (1e-2, 1.0), (1e-1, 2.0), (1.0, 9.0)]
    # Excess 2, 0, 1 over two decades of straight lines; the far point is outside the window.
    assert lr_sensitivity(valley) == pytest.approx(0.75)
    assert lr_sensitivity(valley, worst=2.0) == pytest.approx(0.5)
    assert lr_sensitivity([(1e-3, None), (1e-2, 1.0), (1e-1, 2.0)]) == pytest.approx(0.5)


def test_width_by_hand() -> None:
    valley = [(1e-3, 1.02), (1e-2, 1.0), (1e-1, 1.005), (1.0, 1.015)]
    # Half a decade down; one and a half up.
    assert usable_lr_width(valley, 0.01) == pytest.approx(2.0)
    assert usable_lr_width([(1e-3, None), (1e-2, 1.0), (1e-1, 1.0)], 0.01) == pytest.approx(1.0)
    assert usable_lr_width([(1e-3, None)], 0.01) is None
