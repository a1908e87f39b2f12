"""How long training steps take, on the clock that a busy machine disturbs least."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

import numpy as np
import torch

from bench.cost import Clock
from bench.kinds import Record

# Takes the step of a number, which only ever grows.
Step = Callable[[int], object]
# The seconds of each step of a block, once the device has finished them.
Read = Callable[[], list[float]]


class StepTimes(Record, frozen=True, kw_only=True):
    """What timed steps took."""

    num_steps: int
    # Over whole update periods.
    mean_s: float
    p25_s: float
    p50_s: float
    p75_s: float
    p99_s: float


def pick_clock(device: str) -> Clock:
    """Return the clock that steps on a device are timed with.

    With one CPU thread everything runs on the calling thread, backward included, so its CPU time is the
    step's time and other programs' turns are not in it: measured on a shared machine, wall time spread by a
    factor of 10, thread time by 1.6. With more threads CPU time would count waiting ones, so it is the wall.
    On CUDA the host runs ahead of the device: events mark the steps, and nothing waits until the end.

    Args:
        device: Device type: `cpu`, `cuda` or `mps`.
    """
    if device == "cuda":
        return "cuda_event"
    # Windows counts thread time in ticks of 16 ms: longer than most steps here.
    is_fine = time.get_clock_info("thread_time").resolution <= 1e-6
    return "thread_cpu" if device == "cpu" and torch.get_num_threads() == 1 and is_fine else "wall"


def time_block(step: Step, numbers: Sequence[int], device: str) -> Read:
    """Take steps one after the other, and return a function that tells what each took.

    On CUDA the steps are only enqueued: read after a synchronisation, which the reading makes.

    Args:
        step: Takes one whole training step.
        numbers: Of the steps to take.
        device: Device type the steps run on.
    """
    clock = pick_clock(device)
    if clock == "cuda_event":
        return _enqueue_block(step, numbers)
    now = time.thread_time if clock == "thread_cpu" else time.perf_counter
    wait = torch.mps.synchronize if device == "mps" else None
    marks_s = [now()]
    for number in numbers:
        step(number)
        if wait is not None:
            wait()
        marks_s.append(now())
    return lambda: [end - start for start, end in pairwise(marks_s)]


def _enqueue_block(step: Step, numbers: Sequence[int]) -> Read:
    marks = make_events(len(numbers) + 1)
    marks[0].record()
    for number, mark in zip(numbers, marks[1:], strict=True):
        step(number)
        mark.record()

    def read() -> list[float]:
        torch.cuda.synchronize()
        return [elapsed_s(start, end) for start, end in pairwise(marks)]

    return read


def elapsed_s(start: torch.cuda.Event, end: torch.cuda.Event) -> float:
    """Return the seconds between two events that the device has reached."""
    return float(start.elapsed_time(end)) / 1e3


def make_events(num: int) -> list[torch.cuda.Event]:
    """Return CUDA events that hold a time, made at once so that no step pays for them."""
    return [torch.cuda.Event(enable_timing=True) for _ in range(num)]  # type: ignore[no-untyped-call]


def summarise(times_s: Sequence[float], numbers: Sequence[int], period: int) -> StepTimes:
    """Return the mean over whole update periods, and the quantiles over steps.

    Every place in the period weighs the same in the mean, however often it was timed.

    Args:
        times_s: What each step took.
        numbers: Of the same steps.
        period: Steps after which the optimizer's work repeats.
    """
    times, places = np.asarray(times_s), np.asarray(numbers) % period
    # A place that was never timed is left out: there are fewer steps than a period has.
    means = [times[places == place].mean() for place in range(period) if (places == place).any()]
    p25_s, p50_s, p75_s, p99_s = (float(value) for value in np.percentile(times, [25, 50, 75, 99]))
    return StepTimes(
        num_steps=len(times),
        mean_s=float(np.mean(means)),
        p25_s=p25_s,
        p50_s=p50_s,
        p75_s=p75_s,
        p99_s=p99_s,
    )


@contextmanager
def collector_off() -> Iterator[None]:
    """Hold off Python's garbage collector: its pauses belong to nobody's step."""
    was_collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_collecting:
            gc.enable()
