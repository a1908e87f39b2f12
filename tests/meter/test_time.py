"""Step times come from the right clock, from the timed steps only, and from no garbage collector."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator

import pytest
import torch

from bench.meter.time import time_steps


@pytest.fixture(autouse=True)
def _restored_threads() -> Iterator[None]:
    num_threads = torch.get_num_threads()
    yield
    torch.set_num_threads(num_threads)


class Clock:
    """A clock that only steps move: 100 s while warming up, then 1 s each, and 5 s for every 4th."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.num_steps = 0

    def read(self) -> float:
        return self.now_s

    def step(self) -> None:
        self.num_steps += 1
        self.now_s += 100.0 if self.num_steps <= 3 else 5.0 if (self.num_steps - 3) % 4 == 0 else 1.0


@pytest.mark.parametrize(("num_threads", "name"), [(1, "thread_time"), (2, "perf_counter")])
def test_times_are_of_the_timed_steps(monkeypatch: pytest.MonkeyPatch, num_threads: int, name: str) -> None:
    clock = Clock()
    torch.set_num_threads(num_threads)
    monkeypatch.setattr(time, name, clock.read)
    times = time_steps(clock.step, warmup_steps=3, steps=200, device="cpu")
    assert clock.num_steps == 203
    assert (times.mean_s, times.p50_s, times.p99_s) == (2.0, 1.0, 5.0)
    assert times.clock == {"thread_time": "thread_cpu", "perf_counter": "wall"}[name]


def test_thread_time_leaves_out_what_others_take() -> None:
    torch.set_num_threads(1)
    times = time_steps(lambda: time.sleep(0.01), warmup_steps=1, steps=5, device="cpu")
    assert times.mean_s < 0.005
    torch.set_num_threads(2)
    assert time_steps(lambda: time.sleep(0.01), warmup_steps=1, steps=5, device="cpu").p50_s >= 0.01


def test_a_coarse_thread_clock_is_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    windows = time.get_clock_info("thread_time")
    windows.resolution = 0.0156
    monkeypatch.setattr(time, "get_clock_info", lambda name: windows)
    assert time_steps(lambda: None, warmup_steps=1, steps=3, device="cpu").clock == "wall"


def fail_unless_collecting() -> None:
    if not gc.isenabled():
        raise ZeroDivisionError


@pytest.mark.parametrize("was_collecting", [True, False])
def test_the_collector_is_held_off_and_put_back(was_collecting: bool) -> None:
    seen: list[bool] = []
    try:
        if not was_collecting:
            gc.disable()
        time_steps(lambda: seen.append(gc.isenabled()), warmup_steps=2, steps=3, device="cpu")
        assert seen == [was_collecting] * 2 + [False] * 3
        assert gc.isenabled() == was_collecting
        if was_collecting:
            with pytest.raises(ZeroDivisionError):
                time_steps(fail_unless_collecting, warmup_steps=1, steps=3, device="cpu")
            assert gc.isenabled()
    finally:
        gc.enable()


@pytest.mark.gpu
def test_cuda_steps_are_timed_on_the_device() -> None:
    square = torch.randn(4096, 4096, device="cuda")
    times = time_steps(lambda: square @ square, warmup_steps=5, steps=20, device="cuda")
    assert times.clock == "cuda_event"
    # 137 GFLOP: between 1 PFLOP/s and 1 TFLOP/s.
    assert 1.3e-4 < times.p50_s < 0.14
