"""One measurement fills every figure of a cost, or says why one is missing, and raises nothing."""

from __future__ import annotations

import gc
from typing import Any

import msgspec
import pytest
import torch

from bench.identity import cell_id, cost_id
from bench.meter import step, timing
from bench.meter.cell import reference_run
from bench.meter.step import measure
from bench.result import Cost
from bench.spec import Data, Recompute, Run
from tests.composing import compose_run
from tests.records import MACHINE, make_metering, make_optimizer, make_run

# What a CPU has not, and what an uncompiled cell has not.
ABSENT = {"detail", "workspace_bytes", "reserved_bytes", "clocks", "compiling"}


class Brittle(torch.optim.SGD):
    """Can't do without a closure, and can't be built over anything but what it knows."""

    def __init__(self, params: Any, lr: float) -> None:
        params = list(params)
        if all(parameter.numel() == 1 for parameter in params):
            raise ValueError("no such parameters")
        super().__init__(params, lr=lr)


class Careless(torch.optim.SGD):
    """Fails in its first step."""

    def step(self, closure: Any = None) -> Any:
        raise OSError("no step today\nnor tomorrow")


class Periodic(torch.optim.SGD):
    """Says that every third step is another."""

    update_period = 3


def measured(run: Run | None = None, **changes: Any) -> Cost:
    return measure(make_metering(run, **changes), MACHINE)


def test_every_figure_is_there() -> None:
    metering = make_metering(make_run(optimizer=make_optimizer("torch.optim.Adam", lr=1e-3)))
    cost = measure(metering, MACHINE)
    assert cost.status == "finished" and cost.notes == ()
    missing = {name for name in Cost.__struct_fields__ if getattr(cost, name) is None}
    assert missing == ABSENT
    assert (cost.id, cost.cell_id, cost.run) == (cost_id(metering), cell_id(metering.run), metering.run)
    assert cost.step_p25_s <= cost.step_p50_s <= cost.step_p75_s <= cost.step_p99_s
    assert cost.items_per_s == pytest.approx(16 / cost.step_mean_s)
    assert (cost.num_params, cost.params_bytes, cost.state_bytes) == (49, 4 * 49, 8 * 49)
    assert cost.update.ideal_bytes == 28 * 49 and cost.update.bound == "launch"
    assert cost.predicted.params_bytes == cost.params_bytes and cost.peak_bytes > 3 * cost.params_bytes
    assert cost.reference.ratio.low <= cost.reference.ratio.median <= cost.reference.ratio.high
    assert cost.formats.state == ("float32",) and cost.period == 1
    # It survives the store.
    assert msgspec.json.decode(msgspec.json.encode(cost), type=Cost) == cost


def test_phases_add_up_to_the_step() -> None:
    cost = measured(compose_run("optimizer=adam", workload="digits_mlp"), seconds=0.3)
    phases = cost.breakdown
    total = phases.data_s + phases.forward_s + phases.backward_s + phases.optimizer_s
    # Medians of blocks at different times on a shared machine.
    assert 0.4 < total / cost.step_p50_s < 2.5


def test_the_reference_has_nothing_of_the_cells_choices() -> None:
    plain = compose_run(workload="digits_mlp")
    other = compose_run(
        "optimizer=muon", "optimizer.lr=0.5", "recompute=block", "clip_norm=1.0", "ema=0.9",
        "budget.accumulate=2", "schedule=wsd", workload="digits_mlp",
    )  # fmt: skip
    assert reference_run(plain) == reference_run(other)
    wider = compose_run("model.width=128", workload="digits_mlp")
    assert reference_run(plain) != reference_run(wider)


NOTHING = Data(
    target="bench.data.digits.Nothing", name="x", version="1", licence="none", sha256=None, item="sample"
)
FLAT = msgspec.structs.replace(make_run().model, args=make_run().model.args | {"depth": 0})


@pytest.mark.parametrize(
    ("run", "status", "detail"),
    [
        (make_run(data=NOTHING), "failed", "BuildError: data._target_"),
        (compose_run("model=cnn"), "unsupported", "does not fit"),
        (make_run(recompute=Recompute(name="block"), model=FLAT), "unsupported", "recompute"),
        (make_run(device="cuda"), "unsupported", "device=cuda"),
        (make_run(optimizer=make_optimizer("tests.meter.test_step.Careless")), "failed", "OSError: no step"),
    ],
)
def test_a_cell_that_can_not_run_is_a_row(run: Run, status: str, detail: str) -> None:
    if run.device == "cuda" and torch.cuda.is_available():
        pytest.skip("there is one")
    cost = measured(run)
    assert cost.status == status and cost.detail.startswith(detail) and "\n" not in cost.detail
    assert cost.num_steps == 0 and cost.step_p50_s is None and cost.peak_bytes is None


def test_a_figure_that_can_not_be_had_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nmore")

    monkeypatch.setattr(step, "make_reference", refuse)
    cost = measured(make_run(optimizer=make_optimizer("tests.meter.test_step.Brittle")))
    assert cost.status == "finished" and cost.step_p50_s is not None
    assert cost.reference is None and cost.update is None
    assert cost.notes == (
        "reference: oom, CUDA out of memory. Tried to allocate 2 GiB.",
        "optimizer alone: failed, BuildError: optimizer: tests.meter.test_step.Brittle: no such parameters",
    )


def test_long_steps_are_timed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "_TOO_LONG", 0.0)
    cost = measured()
    assert cost.reference is None and cost.step_p50_s is not None
    assert [note for note in cost.notes if "too long to take turns" in note]


def test_a_declared_period_is_recorded_and_blocks_hold_it() -> None:
    cost = measured(make_run(optimizer=make_optimizer("tests.meter.test_step.Periodic")))
    assert cost.period == 3 and cost.num_steps % 3 == 0 and cost.notes == ()


def test_emulated_formats_are_timed_and_make_no_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step.precision, "is_fast", lambda precision, device: False)
    run = compose_run("precision=bf16", "model.width=8", "model.depth=1", workload="digits_mlp")
    cost = measured(run)
    assert not cost.is_fast and cost.step_p50_s is not None
    assert cost.notes[0] == "speed: bf16 is emulated on this cpu, no claim follows"
    assert cost.formats.autocast == "bfloat16"


def test_the_process_is_as_it_was() -> None:
    was_collecting = gc.isenabled()
    measured()
    assert gc.isenabled() == was_collecting
