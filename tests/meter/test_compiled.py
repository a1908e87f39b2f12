"""What compiling costs is told apart from what a step costs, and a start that fails is a note."""

from __future__ import annotations

import os

import pytest

from bench.meter.compiled import FirstSteps, Started, start_compiled, weigh_compiling
from bench.meter.step import measure
from bench.spec import Compile
from tests.meter.test_process import make_data
from tests.records import MACHINE, make_metering, make_run

CACHE = "TORCHINDUCTOR_CACHE_DIR"
COLD, WARM = FirstSteps(excess_s=20.0, num_recompiles=2), FirstSteps(excess_s=2.0, num_recompiles=1)


def test_it_is_earned_back_by_what_a_step_saves() -> None:
    found = weigh_compiling(Started(cold=COLD, warm=WARM), compiled_s=0.010, eager_s=0.015)
    assert (found.cold_s, found.warm_s, found.num_recompiles) == (20.0, 2.0, 2)
    assert found.break_even_steps == pytest.approx(4000)


@pytest.mark.parametrize("eager_s", [0.010, 0.005, None])
def test_it_may_never_be_earned_back(eager_s: float | None) -> None:
    found = weigh_compiling(Started(cold=COLD, warm=None), compiled_s=0.010, eager_s=eager_s)
    assert (found.warm_s, found.break_even_steps) == (None, None)


def test_nothing_is_started_for_what_is_not_compiled() -> None:
    notes: list[str] = []
    before = dict(os.environ)
    with start_compiled(make_run(), notes) as started:
        assert started is None and os.environ == before
    assert notes == []


@pytest.mark.thorough
def test_a_start_that_can_not_be_is_a_note() -> None:
    notes: list[str] = []
    run = make_run(compile=Compile(name="model"), data=make_data("bench.data.digits.Nothing"))
    before = os.environ.get(CACHE)
    with start_compiled(run, notes) as started:
        # What this process compiles goes where the others' would have.
        assert started is None and os.environ.get(CACHE) not in (None, before)
    assert os.environ.get(CACHE) == before
    assert len(notes) == 1 and notes[0].startswith("compiling: BuildError: data._target_")
    held = make_run(compile=Compile(name="model"), data=make_data("bench.held.hold_data", key="mine"))
    with start_compiled(held, notes) as started:
        assert started is None
    assert "no fresh process" in notes[1]


# torch's compiler imports what torch has deprecated.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.slow
def test_a_compiled_cell_is_measured_beside_its_eager_twin() -> None:
    cost = measure(make_metering(make_run(compile=Compile(name="model"))), MACHINE)
    if cost.status == "unsupported":
        pytest.skip(str(cost.detail))
    assert cost.status == "finished" and cost.compiling is not None
    # Compiling takes seconds, and a filled cache spares most of them.
    assert cost.compiling.cold_s > 1.0
    assert cost.compiling.warm_s is not None and cost.compiling.warm_s < cost.compiling.cold_s
    assert cost.reference is not None and cost.step_p50_s is not None
