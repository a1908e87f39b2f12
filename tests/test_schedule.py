"""The schedule is a pure function: its shape, its ends, and its two intervals."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.schedule import lr_factor, lr_factors
from bench.spec import Schedule

COSINE = Schedule(name="cosine", warmup=0.05, floor=0.0, interval="step")


def test_warm_up_rises_to_the_peak_and_cosine_falls_towards_the_floor() -> None:
    factors = lr_factors(COSINE, 600, 100)
    assert factors[0] == pytest.approx(1 / 30)
    assert factors[29] == 1.0 and factors[30] == 1.0
    assert factors[315] == pytest.approx(0.5)
    assert 0 < factors[-1] < 1e-4
    assert factors[:30] == sorted(factors[:30]) and factors[30:] == sorted(factors[30:], reverse=True)


def test_linear_is_straight_and_constant_is_flat() -> None:
    linear = lr_factors(Schedule(name="linear", warmup=0.0, floor=0.2, interval="step"), 10, 5)
    assert linear == pytest.approx([1 - 0.08 * step for step in range(10)])
    assert lr_factors(Schedule(name="constant", warmup=0.0, floor=1.0, interval="step"), 7, 5) == [1.0] * 7


def test_epoch_interval_holds_the_rate_within_an_epoch() -> None:
    schedule = Schedule(name="cosine", warmup=0.0, floor=0.0, interval="epoch")
    factors = lr_factors(schedule, 12, 4)
    assert [len(set(factors[start : start + 4])) for start in (0, 4, 8)] == [1, 1, 1]
    assert factors[4] == pytest.approx(0.5 * (1 + math.cos(math.pi / 3)))


@given(
    st.sampled_from(["constant", "linear", "cosine"]),
    st.floats(0, 0.99),
    st.floats(0, 1),
    st.sampled_from(["step", "epoch"]),
    st.integers(1, 300),
    st.integers(1, 50),
)
def test_factors_stay_between_zero_and_one(
    name: str, warmup: float, floor: float, interval: str, num_steps: int, steps_per_epoch: int
) -> None:
    schedule = Schedule(name=name, warmup=warmup, floor=floor, interval=interval)  # type: ignore[arg-type]
    for step in (0, num_steps // 2, num_steps - 1):
        assert 0 <= lr_factor(schedule, step, num_steps, steps_per_epoch) <= 1
