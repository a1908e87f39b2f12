"""Intervals keep their promises for any numbers, and cover what they say they cover."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from bench.stats import add_errors, correlate_pairs, paired_effect, summarise, t_interval
from tests.stats.numbers import PAIRS, split

LOSSES = st.dictionaries(st.integers(0, 20), st.floats(1e-6, 1e6), min_size=3, max_size=12)
SELECTION = st.tuples(st.floats(0, 10), st.floats(0, 10))


@given(PAIRS, SELECTION)
def test_swapping_the_sides_mirrors_the_effect(
    pairs: list[tuple[float, float]], selection: tuple[float, float]
) -> None:
    mine, other = split(pairs)
    there = paired_effect(mine, other, "log_ratio", selection)
    back = paired_effect(other, mine, "log_ratio", selection[::-1])
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


@given(PAIRS, SELECTION)
def test_intervals_nest_around_the_mean(
    pairs: list[tuple[float, float]], selection: tuple[float, float]
) -> None:
    effect = paired_effect(*split(pairs), "difference", selection)
    assert effect and effect.interval and effect.interval_90 and effect.resolution is not None
    low, low_90 = effect.interval[0], effect.interval_90[0]
    assert low <= low_90 <= effect.mean <= effect.interval_90[1] <= effect.interval[1]
    assert effect.resolution == pytest.approx(effect.mean - low, rel=1e-6, abs=1e-9)


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


@given(PAIRS, st.floats(0, 10), st.floats(0, 10))
def test_a_search_only_adds_error(pairs: list[tuple[float, float]], one: float, other: float) -> None:
    plain = paired_effect(*split(pairs), "difference")
    searched = paired_effect(*split(pairs), "difference", (one, other))
    assert plain and searched and plain.error is not None and searched.error is not None
    if any(mine != reference for mine, reference in pairs):
        assert searched.error == pytest.approx(math.hypot(plain.error, one, other))
    assert searched.mean == plain.mean


def test_runs_equal_to_the_last_bit_owe_nothing_to_the_search() -> None:
    losses = {0: 0.5, 1: 0.6, 2: 0.7}
    effect = paired_effect(losses, losses, "log_ratio", (1.0, 1.0))
    assert effect and effect.interval == (0.0, 0.0) and effect.p == 1.0 and not effect.is_narrow


def test_an_effect_is_narrow_when_seeds_can_decide_no_more() -> None:
    mine, other = {seed: 1.0 + seed / 100 for seed in range(5)}, dict.fromkeys(range(5), 1.0)
    plain = paired_effect(mine, other, "difference")
    assert plain and plain.resolution and not plain.is_narrow
    for share, is_narrow in ((0.99, False), (1.01, True)):
        effect = paired_effect(mine, other, "difference", (0.0, share * plain.resolution))
        assert effect and effect.is_narrow is is_narrow


def test_errors_add_up_like_welch() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 1, 7), rng.normal(0, 3, 4)
    expected = scipy_stats.ttest_ind(a, b, equal_var=False)
    error, df = add_errors([(a.std(ddof=1) / math.sqrt(7), 6), (b.std(ddof=1) / 2, 3)])
    assert df == pytest.approx(expected.df)
    assert (a.mean() - b.mean()) / error == pytest.approx(expected.statistic)
    assert add_errors([(0.0, 3.0), (0.0, 5.0)]) == (0.0, 3.0)
    assert add_errors([(1e-200, 3.0), (0.0, 5.0)]) == (1e-200, 3.0)


@pytest.mark.parametrize("n", [3, 5, 10])
def test_the_interval_covers_the_truth_as_often_as_it_says(n: int) -> None:
    sample = np.random.default_rng(n).normal(1.0, 1.0, (20_000, n))
    low, high = t_interval(sample.mean(1), sample.std(1, ddof=1), n, 0.95)  # type: ignore[arg-type]
    covered = float(np.mean((low <= 1.0) & (high >= 1.0)))
    assert 0.94 <= covered <= 0.96
    # And what reports show is this interval.
    for row, its_low in zip(sample[:50], np.asarray(low), strict=False):
        effect = paired_effect(dict(enumerate(row)), dict.fromkeys(range(n), 0.0), "difference")
        assert effect and effect.interval and effect.interval[0] == pytest.approx(its_low)


@given(PAIRS)
def test_correlation_agrees_with_numpy(pairs: list[tuple[float, float]]) -> None:
    mine, other = split(pairs)
    found = correlate_pairs(mine, other)
    rows = np.array([list(mine.values()), list(other.values())])
    if found is None:
        assert (rows.std(axis=1) <= 1e-11 * rows.max(axis=1)).any()
    elif (rows.std(axis=1) > 1e-6 * rows.max(axis=1)).all():
        assert found == pytest.approx(np.corrcoef(rows)[0, 1], abs=1e-6)


def test_two_seeds_are_no_correlation() -> None:
    assert correlate_pairs({0: 1.0, 1: 2.0, 2: 3.0}, {0: 1.0, 1: 2.0}) is None
    assert correlate_pairs({0: 1.0, 1: 2.0, 2: 3.0}, {0: 3.0, 1: 2.0, 2: 1.0}) == pytest.approx(-1)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20))
def test_summaries_agree_with_numpy(values: list[float]) -> None:
    mean, sd = summarise(values)
    assert mean == pytest.approx(float(np.mean(values)), abs=1e-6)
    assert sd is None if len(values) == 1 else math.isclose(sd or 0.0, np.std(values, ddof=1), abs_tol=1e-5)
