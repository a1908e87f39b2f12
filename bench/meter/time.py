"""How long one training step takes, on the clock that a busy machine disturbs least."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Literal

import numpy as np
import torch

from bench.kinds import Record

Clock = Literal["wall", "thread_cpu", "cuda_event"]


class StepTimes(Record, frozen=True, kw_only=True):
    """What the timed steps took."""

    mean_s: float
    p50_s: float
    p99_s: float
    clock: Clock


def time_steps(step: Callable[[], object], *, warmup_steps: int, steps: int, device: str) -> StepTimes:
    """Time whole steps one by one, after some that are not timed.

    With one CPU thread everything runs on the calling thread, backward included, so its CPU time is the
    step's time and other programs' turns are not in it: measured on a shared machine, wall time spread by a
    factor of 10, thread time by 1.6. With more threads CPU time would count waiting ones, so it is the wall.
    On CUDA the host runs ahead of the device: events mark the steps, and nothing waits until the end.

    The mean is over all steps, as some optimizers do heavy work only every k-th. Python's garbage collector
    is held off meanwhile: its pauses belong to nobody's step.

    Args:
        step: Takes one whole training step.
        warmup_steps: Steps before the clock starts: lazy state, kernel choice, caches.
        steps: Steps on the clock.
        device: Device type the step runs on: `cpu`, `cuda` or `mps`.

    Returns:
        Mean, median and 99th percentile in seconds, and the clock they were read from.
    """
    for _ in range(warmup_steps):
        step()
    was_collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        times_s, clock = _time_each(step, steps, device)
    finally:
        if was_collecting:
            gc.enable()
    p50_s, p99_s = np.percentile(times_s, [50, 99])
    return StepTimes(mean_s=float(np.mean(times_s)), p50_s=float(p50_s), p99_s=float(p99_s), clock=clock)


def _time_each(step: Callable[[], object], steps: int, device: str) -> tuple[list[float], Clock]:
    if device == "cuda":
        return _time_cuda(step, steps), "cuda_event"
    if device == "cpu" and torch.get_num_threads() == 1 and _has_fine_thread_clock():
        return _time_host(step, steps, time.thread_time), "thread_cpu"
    return _time_host(_finished(step, device), steps, time.perf_counter), "wall"


def _time_host(step: Callable[[], object], steps: int, now: Callable[[], float]) -> list[float]:
    marks = [now()]
    for _ in range(steps):
        step()
        marks.append(now())
    return [end - start for start, end in pairwise(marks)]


def _time_cuda(step: Callable[[], object], steps: int) -> list[float]:
    # Made before the clock starts, so that no step pays for them.
    marks = [torch.cuda.Event(enable_timing=True) for _ in range(steps + 1)]  # type: ignore[no-untyped-call]
    torch.cuda.synchronize()
    marks[0].record()
    for mark in marks[1:]:
        step()
        mark.record()
    torch.cuda.synchronize()
    return [start.elapsed_time(end) / 1e3 for start, end in pairwise(marks)]


def _finished(step: Callable[[], object], device: str) -> Callable[[], object]:
    """Return the step, waiting for a device that runs behind the host."""
    if device != "mps":
        return step

    def wait_for_step() -> None:
        step()
        torch.mps.synchronize()

    return wait_for_step


def _has_fine_thread_clock() -> bool:
    # Windows counts thread time in ticks of 16 ms: longer than most steps here.
    return time.get_clock_info("thread_time").resolution <= 1e-6
