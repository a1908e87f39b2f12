"""The statistics keep their promises for any numbers, and cover what they say they cover."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from bench.report.stats import (
    adjust_holm,
    count_more_seeds,
    is_within_margin,
    paired_effect,
    summarise,
)

LOSSES = st.dictionaries(st.integers(0, 20), st.floats(1e-6, 1e6), min_size=3, max_size=12)
PAIRS = st.lists(st.tuples(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3)), min_size=3, max_size=12)
P_VALUES = st.lists(st.floats(0, 1), max_size=12)


def split(pairs: list[tuple[float, float]]) -> tuple[dict[int, float], dict[int, float]]:
    return {seed: pair[0] for seed, pair in enumerate(pairs)}, {
        seed: pair[1] for seed, pair in enumerate(pairs)
    }


@given(PAIRS)
def test_swapping_the_sides_mirrors_the_effect(pairs: list[tuple[float, float]]) -> None:
    mine, other = split(pairs)
    there, back = paired_effect(mine, other, "log_ratio"), paired_effect(other, mine, "log_ratio")
    assert there and back and there.interval and back.interval
    assert there.mean == pytest.approx(-back.mean, abs=1e-12)
    assert there.interval[0] == pytest.approx(-back.interval[1], abs=1e-9)
    assert there.p == pytest.approx(back.p, abs=1e-9)


@given(PAIRS, st.floats(1e-3, 1e3))
def test_a_log_ratio_knows_no_unit(pairs: list[tuple[float, float]], factor: float) -> None:
    mine, other = split(pairs)
    plain = paired_effect(mine, other, "log_ratio")
    scaled = paired_effect(
        {seed: loss * factor for seed, loss in mine.items()},
        {seed: loss * factor for seed, loss in other.items()},
        "log_ratio",
    )
    assert plain and scaled
    assert plain.mean == pytest.approx(scaled.mean, abs=1e-9)


@given(PAIRS, st.randoms())
def test_the_order_of_rows_changes_nothing(pairs: list[tuple[float, float]], random: object) -> None:
    mine, other = split(pairs)
    shuffled = list(mine.items())
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert paired_effect(dict(shuffled), other, "difference") == paired_effect(mine, other, "difference")


@given(PAIRS)
def test_intervals_nest_around_the_mean(pairs: list[tuple[float, float]]) -> None:
    effect = paired_effect(*split(pairs), "difference")
    assert effect and effect.interval and effect.interval_90
    assert (
        effect.interval[0]
        <= effect.interval_90[0]
        <= effect.mean
        <= effect.interval_90[1]
        <= effect.interval[1]
    )


@given(PAIRS)
def test_it_agrees_with_scipy(pairs: list[tuple[float, float]]) -> None:
    mine, other = split(pairs)
    differences = [mine[seed] - other[seed] for seed in mine]
    assume(np.std(differences) > 1e-6 * (1 + np.max(np.abs(differences))))
    effect = paired_effect(mine, other, "difference")
    expected = scipy_stats.ttest_1samp(differences, 0.0)
    assert effect and effect.interval
    assert effect.p == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-12)
    assert effect.interval == pytest.approx(tuple(expected.confidence_interval(0.95)), rel=1e-6)


@given(LOSSES, LOSSES)
def test_only_common_seeds_are_paired(mine: dict[int, float], other: dict[int, float]) -> None:
    effect = paired_effect(mine, other, "log_ratio")
    common = set(mine) & set(other)
    assert (effect.n if effect else 0) == len(common)
    assert effect is None or (effect.interval is None) == (len(common) < 3)


def test_a_loss_that_is_not_positive_has_no_log_ratio() -> None:
    assert paired_effect({0: 0.0, 1: 1.0, 2: 1.0}, {0: 1.0, 1: 1.0, 2: 1.0}, "log_ratio") is None


def test_an_optimizer_against_itself_is_tied_and_certain() -> None:
    losses = {0: 0.5, 1: 0.6, 2: 0.7}
    effect = paired_effect(losses, losses, "log_ratio")
    assert effect and effect.mean == 0 and effect.p == 1.0
    assert is_within_margin(effect, 1e-6)
    assert count_more_seeds(effect, 1e-6) == 0


@given(P_VALUES)
def test_holm_only_raises_and_keeps_the_order(p_values: list[float]) -> None:
    adjusted = adjust_holm(p_values)
    assert all(p <= q <= 1 for p, q in zip(p_values, adjusted, strict=True))
    ranked = sorted(zip(p_values, adjusted, strict=True))
    assert all(low[1] <= high[1] for low, high in pairwise(ranked))


def test_holm_by_hand() -> None:
    assert adjust_holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


@given(PAIRS, st.floats(1e-6, 10), st.floats(1.0, 10))
def test_a_wider_margin_ties_no_less(pairs: list[tuple[float, float]], margin: float, factor: float) -> None:
    effect = paired_effect(*split(pairs), "log_ratio")
    assert effect
    assert is_within_margin(effect, margin) <= is_within_margin(effect, margin * factor)
    few, many = count_more_seeds(effect, margin * factor), count_more_seeds(effect, margin)
    assert many is None or (few is not None and few <= many)


@pytest.mark.parametrize("n", [3, 5, 10])
def test_the_interval_covers_the_truth_as_often_as_it_says(n: int) -> None:
    rng = np.random.default_rng(n)
    covered = 0
    for _ in range(2000):
        mine = dict(enumerate(rng.normal(1.0, 1.0, n)))
        effect = paired_effect(mine, dict.fromkeys(range(n), 0.0), "difference")
        assert effect and effect.interval
        covered += effect.interval[0] <= 1.0 <= effect.interval[1]
    assert 0.935 <= covered / 2000 <= 0.965


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20))
def test_summaries_agree_with_numpy(values: list[float]) -> None:
    mean, sd = summarise(values)
    assert mean == pytest.approx(float(np.mean(values)), abs=1e-6)
    assert sd is None if len(values) == 1 else math.isclose(sd or 0.0, np.std(values, ddof=1), abs_tol=1e-5)
