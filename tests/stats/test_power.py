"""Power, smallest gaps and numbers of seeds are the published ones, and come true in simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.stats import (
    MIN_PAIRS,
    POWER,
    TELLING_GAP,
    count_seeds,
    detection_power,
    log_moments,
    smallest_gap,
    standardised_gap,
    t_interval,
)

SDS = st.floats(1e-6, 1e6)
NUMS = st.integers(MIN_PAIRS, 200)


# As power calculators give them; Cohen 1988's table 2.4.1, by approximation, has 393, 64, 26, 17 unpaired.
@pytest.mark.parametrize(
    ("gap", "paired", "unpaired"), [(0.2, 199, 394), (0.5, 34, 64), (0.8, 15, 26), (1.0, 10, 17)]
)
def test_seeds_for_a_gap_are_the_published_ones(gap: float, paired: int, unpaired: int) -> None:
    assert count_seeds(gap, 1.0, is_paired=True) == paired
    assert count_seeds(gap, 1.0, is_paired=False) == unpaired


@pytest.mark.parametrize("num", [3, 5, 10])
@pytest.mark.parametrize("is_paired", [True, False])
def test_the_smallest_gap_is_seen_as_often_as_promised(num: int, is_paired: bool) -> None:
    sd, repeats = 0.4, 20_000
    gap = smallest_gap(sd, num, is_paired=is_paired)
    assert gap is not None
    rng = np.random.default_rng(7)
    if is_paired:
        differences = rng.normal(gap, sd, (repeats, num))
        low, high = t_interval(differences.mean(1), differences.std(1, ddof=1), num, 0.95)  # type: ignore[arg-type]
    else:
        first, second = rng.normal(gap, sd, (repeats, num)), rng.normal(0, sd, (repeats, num))
        pooled = np.sqrt((first.var(1, ddof=1) + second.var(1, ddof=1)) / 2)
        mean = first.mean(1) - second.mean(1)
        # The interval of a mean of 2 n - 1 values has the degrees of freedom, not the error, of two means.
        _, reach = t_interval(0.0, pooled, 2 * num - 1, 0.95)  # type: ignore[arg-type]
        reach = reach * math.sqrt(2 * num - 1) * math.sqrt(2 / num)
        low, high = mean - reach, mean + reach
    seen = float(np.mean((np.asarray(low) > 0) | (np.asarray(high) < 0)))
    # Three standard errors of the share.
    assert seen == pytest.approx(POWER, abs=3 * math.sqrt(POWER * (1 - POWER) / repeats))


@given(SDS, NUMS, st.booleans())
def test_gap_and_seeds_answer_each_other(sd: float, num: int, is_paired: bool) -> None:
    gap = smallest_gap(sd, num, is_paired=is_paired)
    assert gap is not None
    assert detection_power(gap, sd, num, is_paired=is_paired) == pytest.approx(POWER, abs=1e-6)
    assert count_seeds(gap * (1 + 1e-6), sd, is_paired=is_paired) == num
    finer = smallest_gap(sd, num + 1, is_paired=is_paired)
    assert finer is not None and finer < gap


@given(SDS, st.integers(2, 200), st.booleans())
def test_without_a_gap_the_chance_is_that_of_a_false_claim(sd: float, num: int, is_paired: bool) -> None:
    assert detection_power(0.0, sd, num, is_paired=is_paired) == pytest.approx(0.05, abs=1e-9)
    assert detection_power(1e9 * sd, sd, num, is_paired=is_paired) == pytest.approx(1.0)


def test_the_edges_are_no_numbers_out_of_nothing() -> None:
    assert smallest_gap(1.0, MIN_PAIRS - 1, is_paired=True) is None
    assert smallest_gap(0.0, 5, is_paired=True) == 0.0
    assert count_seeds(1e-6, 1.0, is_paired=True) is None
    assert count_seeds(1e6, 1.0, is_paired=True) == MIN_PAIRS
    assert detection_power(0.1, 0.0, 5, is_paired=True) == 1.0


def test_a_rule_by_the_normal_distribution_promises_too_much() -> None:
    gap = smallest_gap(1.0, 5, is_paired=True)
    assert gap is not None and 2.8 / math.sqrt(5) == pytest.approx(0.75 * gap, rel=0.01)


def test_a_telling_gap_is_what_five_seeds_each_see() -> None:
    assert smallest_gap(1.0, 5, is_paired=False) == pytest.approx(TELLING_GAP, rel=0.02)


def test_log_moments_are_those_of_a_log_normal() -> None:
    mean, sd = log_moments(2.0, 1.0)
    sample = np.random.default_rng(0).lognormal(mean, sd, 400_000)
    assert sample.mean() == pytest.approx(2.0, rel=0.01) and sample.std() == pytest.approx(1.0, rel=0.02)
    # Of little spread, the share of the mean.
    assert log_moments(3.0, 0.003)[1] == pytest.approx(0.001, rel=1e-3)


def test_a_standardised_gap_by_hand() -> None:
    assert standardised_gap((5.0, 3.0), (1.0, 1.0)) == pytest.approx(4 / math.sqrt(5))
    assert standardised_gap((1.0, 1.0), (5.0, 3.0)) == standardised_gap((5.0, 3.0), (1.0, 1.0))
    assert (
        standardised_gap((1.0, 0.0), (1.0, 0.0)) == 0.0
        and standardised_gap((1.0, 0.0), (2.0, 0.0)) == math.inf
    )
