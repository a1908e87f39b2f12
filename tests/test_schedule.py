"""The schedule is a pure function: its shape, its ends, and its two intervals."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import build
from bench.errors import SpecError
from bench.identity import run_id
from bench.schedule import check_schedule, lr_factor, lr_factors
from bench.spec import Schedule
from tests.composing import compose_run
from tests.records import make_run

COSINE = Schedule(name="cosine", warmup=0.05, floor=0.0, interval="step")
WSD = Schedule(name="wsd", warmup=0.1, floor=0.0, interval="step", decay=0.2)


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


def test_wsd_rises_holds_and_falls_as_one_minus_a_square_root() -> None:
    factors = lr_factors(WSD, 100, 10)
    assert factors[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert factors[10:81] == [1.0] * 71
    assert factors[81:] == pytest.approx([1 - math.sqrt(k / 20) for k in range(1, 20)])
    # Before its decay a longer run is the same run: what makes the schedule worth having.
    longer = msgspec.structs.replace(WSD, warmup=0.05, decay=0.1)
    assert lr_factors(longer, 200, 10)[:81] == factors[:81]
    assert lr_factors(msgspec.structs.replace(WSD, floor=0.1), 100, 10)[-1] == pytest.approx(
        0.1 + 0.9 * factors[-1]
    )


def test_wsd_without_room_between_warm_up_and_decay_has_no_stable_stretch() -> None:
    whole = Schedule(name="wsd", warmup=0.0, floor=0.0, interval="step", decay=1.0)
    assert lr_factors(whole, 4, 2) == pytest.approx([1 - math.sqrt(k / 4) for k in range(4)])
    # One step only: it is taken at the peak.
    assert lr_factors(WSD, 1, 2) == [1.0]


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"name": "cosine"}, "schedule.decay: only wsd has it, got 0.2 with cosine"),
        ({"decay": None}, "schedule.decay: wsd wants a share of all steps, got null"),
        ({"decay": 0.95}, "schedule.decay: wants at most 1 - schedule.warmup, 0.9, got 0.95"),
    ],
)
def test_fields_that_do_not_go_together_are_refused(changes: dict[str, Any], line: str) -> None:
    check_schedule(WSD)
    check_schedule(COSINE)
    with pytest.raises(SpecError) as caught:
        check_schedule(msgspec.structs.replace(WSD, **changes))
    assert str(caught.value) == line


def test_a_run_with_a_decay_that_nothing_uses_does_not_start() -> None:
    with pytest.raises(SpecError, match="only wsd has it"):
        build.check(compose_run("+schedule.decay=0.2", workload="gaussian_mlp"))


def test_only_wsd_has_a_decay_in_its_identity() -> None:
    assert "decay" not in msgspec.to_builtins(compose_run("schedule=cosine").schedule)
    assert msgspec.to_builtins(compose_run("schedule=wsd").schedule)["decay"] == 0.2
    longer = msgspec.structs.replace(WSD, decay=0.3)
    assert run_id(make_run(schedule=WSD)) != run_id(make_run(schedule=longer))
    # A stored run is read back as the one it was.
    for schedule in (WSD, COSINE):
        assert msgspec.json.decode(msgspec.json.encode(schedule), type=Schedule) == schedule


@given(
    st.sampled_from(["constant", "linear", "cosine", "wsd"]),
    st.floats(0, 0.99),
    st.floats(0, 1),
    st.floats(0.01, 1),
    st.sampled_from(["step", "epoch"]),
    st.integers(1, 300),
    st.integers(1, 50),
)
def test_factors_stay_between_zero_and_one(
    name: Any, warmup: float, floor: float, decay: float, interval: Any, num_steps: int, steps_per_epoch: int
) -> None:
    schedule = Schedule(
        name=name, warmup=warmup, floor=floor, interval=interval, decay=decay if name == "wsd" else None
    )
    for step in (0, num_steps // 2, num_steps - 1):
        assert 0 <= lr_factor(schedule, step, num_steps, steps_per_epoch) <= 1
