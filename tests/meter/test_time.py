"""Step times come from the right clock, from the timed steps only, and from no garbage collector."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator

import pytest
import torch

from bench.meter.time import collector_off, pick_clock, summarise, time_block


@pytest.fixture(autouse=True)
def _restored_threads() -> Iterator[None]:
    num_threads = torch.get_num_threads()
    yield
    torch.set_num_threads(num_threads)


@pytest.mark.parametrize(("num_threads", "name"), [(1, "thread_time"), (2, "perf_counter")])
def test_each_step_of_a_block_is_timed(monkeypatch: pytest.MonkeyPatch, num_threads: int, name: str) -> None:
    now_s, taken = [0.0], []

    def step(number: int) -> None:
        taken.append(number)
        now_s[0] += 5.0 if number % 4 == 0 else 1.0

    torch.set_num_threads(num_threads)
    monkeypatch.setattr(time, name, lambda: now_s[0])
    assert time_block(step, range(3, 9), "cpu")() == [1.0, 5.0, 1.0, 1.0, 1.0, 5.0]
    assert taken == [3, 4, 5, 6, 7, 8]


def test_thread_time_leaves_out_what_others_take() -> None:
    def step(_: int) -> None:
        time.sleep(0.01)

    torch.set_num_threads(1)
    assert pick_clock("cpu") == "thread_cpu"
    assert sum(time_block(step, range(5), "cpu")()) < 0.025
    torch.set_num_threads(2)
    assert pick_clock("cpu") == "wall"
    assert min(time_block(step, range(5), "cpu")()) >= 0.01


def test_a_coarse_thread_clock_is_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    windows = time.get_clock_info("thread_time")
    windows.resolution = 0.0156
    monkeypatch.setattr(time, "get_clock_info", lambda name: windows)
    assert pick_clock("cpu") == "wall"


def test_the_mean_is_over_whole_periods() -> None:
    # Every third step is heavy, and the block ends in the middle of a period.
    times = summarise([9.0, 1.0, 1.0, 9.0], range(6, 10), period=3)
    assert (times.num_steps, times.mean_s, times.p50_s) == (4, (9.0 + 1.0 + 1.0) / 3, 5.0)
    assert summarise([9.0, 1.0, 1.0, 9.0], range(6, 10), period=1).mean_s == 5.0
    # Fewer steps than a period: what there is.
    assert summarise([2.0, 4.0], range(2), period=10).mean_s == 3.0


def test_quantiles_are_over_steps() -> None:
    times = summarise([float(value) for value in range(101)], range(101), period=1)
    assert (times.p25_s, times.p50_s, times.p75_s, times.p99_s) == (25.0, 50.0, 75.0, 99.0)


@pytest.mark.parametrize("was_collecting", [True, False])
def test_the_collector_is_held_off_and_put_back(was_collecting: bool) -> None:
    try:
        if not was_collecting:
            gc.disable()
        with pytest.raises(ZeroDivisionError), collector_off():
            assert not gc.isenabled()
            raise ZeroDivisionError
        assert gc.isenabled() == was_collecting
    finally:
        gc.enable()


@pytest.mark.gpu
def test_cuda_steps_are_timed_on_the_device() -> None:
    square = torch.randn(4096, 4096, device="cuda")
    times_s = time_block(lambda _: square @ square, range(20), "cuda")()
    assert pick_clock("cuda") == "cuda_event"
    # 137 GFLOP: between 1 PFLOP/s and 1 TFLOP/s.
    assert 1.3e-4 < sorted(times_s)[10] < 0.14
