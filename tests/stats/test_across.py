"""Statements over several arenas agree with the published methods, and say nothing where they may not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from bench.stats import (
    adjust_fdr,
    adjust_holm,
    expect_false_arenas,
    improvement_probability,
    performance_profile,
    pool_effects,
)
from tests.stats.numbers import P_VALUES, PAIRS, split

COSTS = st.lists(st.one_of(st.none(), st.floats(0.1, 10)), min_size=5, max_size=5)


@given(P_VALUES)
def test_fdr_agrees_with_scipy(p_values: list[float]) -> None:
    if p_values:
        assert adjust_fdr(p_values) == pytest.approx(list(scipy_stats.false_discovery_control(p_values)))
    assert all(
        mild <= strict + 1e-12
        for mild, strict in zip(adjust_fdr(p_values), adjust_holm(p_values), strict=True)
    )


def test_false_arenas_add_up() -> None:
    assert expect_false_arenas(20, 0.05) == pytest.approx(1.0)


def test_one_arena_pools_to_itself() -> None:
    pooled = pool_effects([(1.0, 0.5, 4.0)])
    assert pooled and pooled.mean == 1.0 and pooled.df == pytest.approx(4.0)
    assert pooled.interval == pytest.approx((1 - 0.5 * 2.776445, 1 + 0.5 * 2.776445), rel=1e-6)
    assert pool_effects([]) is None
    certain = pool_effects([(0.0, 0.0, 2.0)])
    assert certain and certain.interval == (0.0, 0.0) and certain.p == 1.0


def test_the_pooled_interval_covers_the_truth() -> None:
    # Six arenas of three seeds each, every arena with a noise of its own.
    rng = np.random.default_rng(0)
    num, covered = 4000, 0
    for sample in rng.normal(0.0, 1.0, (num, 6, 3)) * rng.uniform(0.5, 2.0, (num, 6, 1)):
        errors = sample.std(axis=1, ddof=1) / 3**0.5
        pooled = pool_effects(
            [(float(m), float(e), 2.0) for m, e in zip(sample.mean(1), errors, strict=True)]
        )
        assert pooled
        covered += pooled.interval[0] <= 0 <= pooled.interval[1]
    assert 0.94 <= covered / num <= 0.98


@given(st.lists(PAIRS, min_size=1, max_size=4))
def test_the_chance_to_improve_mirrors(arenas: list[list[tuple[float, float]]]) -> None:
    sides = [split(pairs) for pairs in arenas]
    there = improvement_probability(sides)
    back = improvement_probability([(other, mine) for mine, other in sides])
    assert there and back
    (chance, (low, high)), (other, (other_low, _)) = there, back
    assert 0 <= low <= chance <= high <= 1
    assert chance == pytest.approx(1 - other) and high == pytest.approx(1 - other_low)


def test_the_chance_to_improve_in_one_arena_is_wilsons() -> None:
    mine = dict.fromkeys(range(10), 1.0)
    other = {seed: 2.0 if seed < 8 else 0.5 for seed in range(10)}
    expected = scipy_stats.binomtest(8, 10).proportion_ci(method="wilson")
    found = improvement_probability([(mine, other)])
    assert found and found[0] == 0.8 and found[1] == pytest.approx((expected.low, expected.high))
    assert improvement_probability([(mine, mine)]) == (0.5, pytest.approx((0.2366, 0.7634), abs=1e-3))
    assert improvement_probability([]) is None and improvement_probability([(mine, {99: 1.0})]) is None


@given(COSTS, COSTS, COSTS)
def test_a_profile_rises_and_owes_nothing_to_third_parties(
    one: list[float | None], other: list[float | None], reference: list[float | None]
) -> None:
    ratios = [0.5, 1.0, 2.0, 100.0]
    together = performance_profile({"one": one, "other": other}, reference, ratios)
    alone = performance_profile({"one": one}, reference, ratios)
    assert together and alone and together["one"] == alone["one"]
    assert together["one"] == sorted(together["one"])
    assert together["one"][-1] == sum(cost is not None for cost in one) / 5


def test_four_arenas_make_no_profile() -> None:
    assert performance_profile({"one": [1.0] * 4}, [1.0] * 4, [1.0]) is None
    assert performance_profile({"it": [1.0] * 5}, [1.0] * 5, [0.9, 1.0]) == {"it": [0.0, 1.0]}
