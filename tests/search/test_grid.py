"""Grids give every optimizer the same points per decade; edges are found where the basin is open."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.effort import Dimension
from bench.search.grid import Trial, find_edge, make_grid, make_offsets, widen_interval, widen_offsets
from bench.search.space import LR, Params, Space
from tests.search.searching import DECADES, make_search

counts = st.integers(1, 40)
densities = st.floats(0.5, 20)
defaults = st.floats(1e-6, 10)


def grid(varied: Space | None = None, default: Params | None = None, **changes: Any) -> list[Params]:
    search = make_search(**changes)
    varied = {LR: DECADES} if varied is None else varied
    return make_grid(varied, search, default or {LR: 1e-3}, make_offsets(varied, search))


def lrs(default: float = 1e-3, **changes: Any) -> list[float]:
    return [float(point[LR]) for point in grid(default={LR: default}, **changes)]


def test_the_default_grid_is_four_decades_around_the_default() -> None:
    half = [3.16227766017e-05, 0.000316227766017, 0.00316227766017, 0.0316227766017]
    assert lrs() == [1e-3, half[2], half[1], 1e-2, 1e-4, half[3], half[0], 1e-1, 1e-5]


@given(counts, densities, defaults)
def test_a_larger_grid_only_adds(num: int, per_decade: float, default: float) -> None:
    small = lrs(default, trials=num, per_decade=per_decade)
    large = lrs(default, trials=num + 1, per_decade=per_decade)
    assert large[:num] == small
    assert len(set(large)) == num + 1
    assert math.isclose(small[0], default, rel_tol=1e-11)


@given(counts, densities, defaults, defaults)
def test_every_optimizer_has_the_same_points_per_decade(
    num: int, per_decade: float, one: float, other: float
) -> None:
    for default in (one, other):
        points = sorted(lrs(default, trials=num, per_decade=per_decade))
        assert len(points) == num
        for a, b in itertools.pairwise(points):
            assert math.isclose(b / a, 10 ** (1 / per_decade), rel_tol=1e-9)


@given(st.integers(2, 40), st.floats(1e-6, 1e-2), st.floats(1.5, 1e6))
def test_an_interval_of_ones_own_is_spanned(num: int, low: float, factor: float) -> None:
    own = {LR: Dimension(low=low, high=low * factor)}
    points = grid(own, {LR: low}, trials=num, space=own)
    mine = [float(point[LR]) for point in points]
    assert math.isclose(mine[0], low, rel_tol=1e-11)
    assert math.isclose(mine[-1], low * factor, rel_tol=1e-9)
    ratios = [b / a for a, b in itertools.pairwise(mine)]
    assert all(math.isclose(ratio, factor ** (1 / (num - 1)), rel_tol=1e-9) for ratio in ratios)


def test_one_point_of_an_interval_is_its_middle() -> None:
    own = {LR: Dimension(low=1e-4, high=1e-2, log=True)}
    assert grid(own, trials=1, space=own) == [{LR: 1e-3}]


@given(counts, counts, st.sampled_from(["low", "high"]))
def test_widening_a_grid_goes_on_at_its_spacing(num: int, more: int, side: Any) -> None:
    search = make_search(trials=num)
    before = make_offsets({LR: DECADES}, search)
    after = widen_offsets(before, side, more)
    assert after[:num] == before
    points = make_grid({LR: DECADES}, search, {LR: 1e-3}, after)
    values = sorted(float(point[LR]) for point in points)
    assert len(set(values)) == num + more
    assert all(math.isclose(b / a, 10**0.5, rel_tol=1e-9) for a, b in itertools.pairwise(values))
    edge = max if side == "high" else min
    assert edge(values) != edge(float(point[LR]) for point in points[:num])
    # A wider grid from the start has the same points, to the last digit.
    assert set(values) <= set(lrs(trials=2 * (num + more) + 1))


def test_an_interval_of_ones_own_widens_at_its_spacing() -> None:
    own = {LR: Dimension(low=1e-4, high=1e-2, log=True)}
    search = make_search(trials=5, space=own)
    offsets = widen_offsets(make_offsets(own, search), "low", 1)
    points = make_grid(own, search, {LR: 1e-3}, offsets)
    assert points[0] == {LR: 1e-4}
    assert points[-1] == {LR: 3.16227766017e-05}


def test_lists_are_combined_with_every_lr_the_default_first() -> None:
    space = {
        "model.dropout": Dimension(choices=(0.1, 0.0)),
        LR: DECADES,
        "optimizer.nesterov": Dimension(choices=(True, False)),
    }
    default: Params = {"model.dropout": 0.0, LR: 1e-3, "optimizer.nesterov": False}
    points = grid(space, default, trials=3)
    assert points[0] == default
    assert len(points) == 12
    assert {point["model.dropout"] for point in points[:4]} == {0.0, 0.1}
    assert [point[LR] for point in points[::4]] == lrs(trials=3)
    assert grid(space, default, trials=4)[:12] == points


def test_without_lr_only_the_lists_are_tried() -> None:
    space = {"model.dropout": Dimension(choices=(0.0, 0.1))}
    assert grid(space, {"model.dropout": 0.1}) == [{"model.dropout": 0.1}, {"model.dropout": 0.0}]
    assert grid({}, {}) == [{}]
    assert grid({LR: Dimension(choices=(0.3, 0.1))}) == [{LR: 0.3}, {LR: 0.1}]


def test_an_interval_grows_by_decades_at_one_side() -> None:
    assert widen_interval(DECADES, "low", 1.0) == Dimension(low=1e-6, high=1e-1, log=True)
    assert widen_interval(DECADES, "high", 0.5) == Dimension(low=1e-5, high=0.316227766017, log=True)
    listed = Dimension(choices=(0.1,))
    assert widen_interval(listed, "high", 1.0) == listed


def told(*losses: float | None) -> list[Trial]:
    """Return trials a decade apart, from 1e-5 upwards."""
    return [Trial(number, {LR: 10.0 ** (number - 5)}, loss) for number, loss in enumerate(losses)]


@pytest.mark.parametrize(
    ("losses", "sigma", "edge"),
    [
        ((5.0, 3.0, 1.0, 3.0, 5.0), None, None),
        ((1.0, 2.0, 3.0, 4.0, 5.0), None, "low"),
        ((5.0, 4.0, 3.0, 2.0, 1.0), None, "high"),
        # What diverges beyond the best closes the basin.
        ((5.0, 4.0, 3.0, 1.0, None), None, None),
        ((5.0, 4.0, 3.0, 1.0, None), 10.0, "low"),
        # Not worse than the noise, up to the end: it may go on falling.
        ((5.0, 4.0, 3.0, 1.0, 1.1), None, None),
        ((5.0, 4.0, 3.0, 1.0, 1.1), 0.05, None),
        ((5.0, 4.0, 3.0, 1.0, 1.1), 0.2, "high"),
        ((5.0, 4.0, 1.0, 1.1, 1.2), 0.3, "high"),
        ((1.1, 1.0, 3.0, 4.0, 5.0), 0.2, "low"),
        # A rise further out closes it, whatever lies between.
        ((5.0, 4.0, 1.0, 1.1, 2.0), 0.3, None),
        # Flat everywhere: towards the better end.
        ((1.1, 1.1, 1.0, 1.1, 1.2), 0.3, "low"),
        ((None, None, None), None, None),
        ((1.0,), None, None),
        ((), None, None),
    ],
)
def test_an_edge_is_an_open_basin(
    losses: tuple[float | None, ...], sigma: float | None, edge: str | None
) -> None:
    assert find_edge(told(*losses), {LR: DECADES}, is_grid=True, sigma=sigma) == edge


def test_near_a_bound_a_sampler_is_on_the_edge() -> None:
    # 10 % of four decades: 10 ** 0.4 = 2.51 from either bound.
    for best, edge in ((2.4e-5, "low"), (2.6e-5, None), (0.039, None), (0.041, "high")):
        trials = [Trial(0, {LR: 1e-5}, 3.0), Trial(1, {LR: best}, 1.0), Trial(2, {LR: 1e-1}, 2.0)]
        assert find_edge(trials, {LR: DECADES}, is_grid=False) == edge
        assert find_edge(trials, {LR: DECADES}, is_grid=True) is None


def test_an_lr_counts_by_its_best_setting() -> None:
    trials = [
        Trial(0, {LR: 1e-3, "model.dropout": 0.0}, 2.0),
        Trial(1, {LR: 1e-3, "model.dropout": 0.1}, 0.5),
        Trial(2, {LR: 1e-2, "model.dropout": 0.0}, 1.0),
        Trial(3, {LR: 1e-4, "model.dropout": 0.1}, 1.0),
        Trial(4, {LR: 1e-4, "model.dropout": 0.0}, None),
    ]
    assert find_edge(trials, {LR: DECADES}, is_grid=True) is None
    assert find_edge(trials[:3], {LR: DECADES}, is_grid=True) == "low"


def test_what_is_not_varied_has_no_edge() -> None:
    assert find_edge(told(1.0, 2.0), {}, is_grid=True) is None
