"""The noise of a search is what its own numbers say: none without a rival, all of it at a tie."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.result import SearchRecord, TrialRecord
from bench.stats import mean_square_below, selection_sd

TABLES = st.lists(st.lists(st.floats(0.1, 10), min_size=3, max_size=3), min_size=2, max_size=5)


def record(table: Sequence[Sequence[float | None]], best: int | None = 0) -> SearchRecord:
    trials = tuple(
        TrialRecord(number=number, params={}, runs=(), losses=tuple(row), is_confirmed=len(row) > 1, round=0)
        for number, row in enumerate(table)
    )
    return SearchRecord(
        sampler="grid", space={}, trials=trials, best=best, edge=None, num_widened=0, is_final=True
    )


def ranked(table: list[list[float]]) -> list[list[float]]:
    return sorted(table, key=lambda row: math.fsum(row))


@given(st.floats(-3, 3), st.floats(0.01, 3))
def test_the_closed_form_is_the_integral(mean: float, sd: float) -> None:
    x = mean + sd * np.linspace(-12, 12, 40_001)
    density = np.exp(-(((x - mean) / sd) ** 2) / 2) / (sd * math.sqrt(2 * math.pi))
    expected = np.trapezoid(np.minimum(x, 0) ** 2 * density, x)
    assert mean_square_below(mean, sd) == pytest.approx(expected, rel=1e-4, abs=1e-9)
    assert mean_square_below(mean, 0.0) == min(mean, 0) ** 2


@given(TABLES)
def test_it_is_a_finite_number_that_knows_no_order(table: list[list[float]]) -> None:
    search = record(ranked(table))
    found = selection_sd(search, {}, "log_ratio")
    assert found >= 0 and math.isfinite(found)
    trials = list(search.trials)
    random.Random(0).shuffle(trials)
    assert selection_sd(msgspec.structs.replace(search, trials=tuple(trials)), {}, "log_ratio") == found


@given(TABLES, st.floats(0.1, 10))
def test_logarithms_know_no_unit_and_differences_do(table: list[list[float]], factor: float) -> None:
    table = ranked(table)
    scaled = [[factor * loss for loss in row] for row in table]
    logs = [selection_sd(record(each), {}, "log_ratio") for each in (table, scaled)]
    assert logs[0] == pytest.approx(logs[1], rel=1e-6, abs=1e-7)
    plain = [selection_sd(record(each), {}, "difference") for each in (table, scaled)]
    assert factor * plain[0] == pytest.approx(plain[1], rel=1e-6, abs=1e-7)


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_rival_further_off_leaves_less_open(one: float, other: float) -> None:
    near, far = sorted((one, other))
    table = [[1.0, 1.1, 0.9], [1.05, 1.0, 1.0]]

    def leave(gap: float) -> float:
        return selection_sd(record([table[0], [loss + gap for loss in table[1]]]), {}, "difference")

    assert leave(far) <= leave(near) + 1e-12


def test_what_seeds_share_is_no_noise() -> None:
    # The rival is worse by the same on every seed, however much the seeds themselves differ.
    table = [[1.0, 2.0, 3.0], [1.5, 2.5, 3.5], [1.7, 2.7, 3.7]]
    assert selection_sd(record(table), {}, "difference") == pytest.approx(0.0, abs=1e-12)


def test_at_a_tie_half_of_the_gap_is_open() -> None:
    # Residuals +-0.1 in a 2 x 3 table; two degrees of freedom.
    table = [[1.1, 1.0, 0.9], [0.9, 1.0, 1.1]]
    sd = math.sqrt(4 * 0.1**2 / 2)
    expected = math.sqrt(0.5) * sd * math.sqrt(4 / 3) * 4.302653 / 2.776445
    assert selection_sd(record(table), {}, "difference") == pytest.approx(expected, rel=1e-5)


def test_without_a_rival_nothing_is_open() -> None:
    losses = {0: 1.0, 1: 1.2, 2: 0.9}
    assert selection_sd(None, losses, "difference") == 0
    assert selection_sd(record([], None), losses, "difference") == 0
    assert selection_sd(record([[1.0, 1.0]]), losses, "difference") == 0
    # A rival that diverged on any seed, or was not confirmed, could not have been chosen.
    assert selection_sd(record([[1.0, 1.0], [0.9, None]]), losses, "difference") == 0
    assert selection_sd(record([[1.0, 1.0], [0.9]]), losses, "difference") == 0


def test_without_a_second_seed_the_evaluation_says_how_noisy_losses_are() -> None:
    search = record([[1.0], [1.01], [1.02]])
    quiet = selection_sd(search, {seed: 1.0 + 0.001 * seed for seed in range(5)}, "difference")
    loud = selection_sd(search, {seed: 1.0 + 0.1 * seed for seed in range(5)}, "difference")
    assert 0 < quiet < loud
    assert selection_sd(search, {0: 1.0}, "difference") == 0


def test_a_rival_that_nearly_diverged_takes_no_claim_away() -> None:
    calm = [[0.0547, 0.0556, 0.0553], [0.0659, 0.0651, 0.0661], [0.0705, 0.0690, 0.0673]]
    wild = [*calm[:2], [0.0705, 0.4580, 0.0673]]
    assert selection_sd(record(wild), {}, "log_ratio") < 0.02
    # A rival that was once far better does: that kind of noise can choose it.
    lucky = [*calm[:2], [0.0705, 0.0100, 0.0673]]
    assert selection_sd(record(lucky), {}, "log_ratio") > 0.1
