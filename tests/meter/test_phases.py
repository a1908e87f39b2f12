"""The phases of a step add up to it, and each is charged what it took."""

from __future__ import annotations

import time

import pytest
import torch

from bench.errors import Unsupported
from bench.meter.cell import make_cell
from bench.meter.interleave import Arm
from bench.meter.phases import measure_phases
from tests.composing import compose_run


class Engine:
    """Two parts of a batch, on a clock that only phases move."""

    def __init__(self, *, is_whole: bool = False) -> None:
        self.mark = None
        self.now_s = 0.0
        self._is_whole = is_whole

    def step(self, _: int) -> None:
        seconds = {"data": 1.0, "forward": 2.0, "backward": 4.0, "optimizer": 8.0}
        for phase in ("data", "forward", "backward", "forward", "backward", "optimizer"):
            self.now_s += seconds[phase]
            if self.mark is not None and not (self._is_whole and phase == "backward"):
                self.mark(phase)


def test_phases_get_what_they_took(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine()
    torch.set_num_threads(1)
    monkeypatch.setattr(time, "thread_time", lambda: engine.now_s)
    found = measure_phases(engine, Arm(step=engine.step), 3, "cpu")
    assert (found.data_s, found.forward_s, found.backward_s, found.optimizer_s) == (1.0, 4.0, 8.0, 8.0)
    # A CPU's host waits for each operation anyway.
    assert found.host_s is None and engine.mark is None


def test_a_step_that_hides_a_phase_is_not_guessed_at() -> None:
    engine = Engine(is_whole=True)
    with pytest.raises(Unsupported, match="backward"):
        measure_phases(engine, Arm(step=engine.step), 3, "cpu")
    assert engine.mark is None


@pytest.mark.parametrize("more", [(), ("budget.accumulate=2", "clip_norm=1.0", "ema=0.9")])
def test_the_engine_marks_all_of_its_step(more: tuple[str, ...]) -> None:
    cell = make_cell(compose_run("optimizer=adam", *more, workload="digits_mlp"))
    cell.arm.take(5)
    found = measure_phases(cell.engine, cell.arm, 20, "cpu")
    assert min(found.data_s, found.forward_s, found.backward_s, found.optimizer_s) > 0


@pytest.mark.gpu
def test_cuda_phases_are_the_devices_own() -> None:
    cell = make_cell(compose_run("optimizer=adam", "device=cuda", "precision=fp32", workload="digits_mlp"))
    cell.arm.take(5)
    found = measure_phases(cell.engine, cell.arm, 20, "cuda")
    assert found.host_s is not None and found.host_s > 0
    assert min(found.data_s, found.forward_s, found.backward_s, found.optimizer_s) > 0
