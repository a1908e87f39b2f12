"""Where a step's time goes: data, forward, backward and optimizer, in blocks apart from the headline's."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any, Protocol, get_args

import torch

from bench.cost import Breakdown, Phase
from bench.errors import Unsupported
from bench.meter.interleave import Arm
from bench.meter.time import elapsed_s, make_events, pick_clock

# Beyond the four: parts of a batch have a forward and a backward each.
_EVENTS_PER_STEP = 64


class Marked(Protocol):
    """An engine that can say when a phase of its step has ended."""

    mark: Callable[[Phase], None] | None


def measure_phases(engine: Marked, arm: Arm, num_steps: int, device: str) -> Breakdown:
    """Measure the phases of a step, and how long the host takes to ask for a step.

    A phase runs from the mark before it, or the step's start, to its own mark; forward and backward of
    several parts of a batch add up. On CUDA the marks are events, so that a phase is the time between the
    device's reaching them, and host times come from more steps, each begun with an empty queue.

    Args:
        engine: Whose steps the arm takes; its mark is set meanwhile.
        arm: Warmed up.
        num_steps: Steps to take, and as many again for the host on CUDA.
        device: Device type the steps run on.

    Returns:
        Medians over the steps, in seconds.

    Raises:
        Unsupported: The step does not mark its phases, as one that is compiled whole can't.
    """
    record = _record_events if device == "cuda" else _record_host
    try:
        steps = record(engine, arm, num_steps, device)
    finally:
        engine.mark = None
    host_s = _measure_host(arm, num_steps) if device == "cuda" else None
    missing = [phase for phase in get_args(Phase) if not any(phase in step for step in steps)]
    if missing:
        raise Unsupported(f"the step does not mark where {' and '.join(missing)} ends")
    medians = {
        f"{phase}_s": statistics.median(step.get(phase, 0.0) for step in steps) for phase in get_args(Phase)
    }
    return Breakdown(**medians, host_s=host_s)


def _record_host(engine: Marked, arm: Arm, num_steps: int, device: str) -> list[dict[Phase, float]]:
    now = time.thread_time if pick_clock(device) == "thread_cpu" else time.perf_counter
    marks: list[tuple[Phase | None, float]] = []

    def mark(phase: Phase) -> None:
        if device == "mps":
            torch.mps.synchronize()
        marks.append((phase, now()))

    engine.mark = mark
    steps = []
    for _ in range(num_steps):
        marks.clear()
        marks.append((None, now()))
        arm.take(1)
        steps.append(_add_up(marks, lambda start, end: end - start))
    return steps


def _record_events(engine: Marked, arm: Arm, num_steps: int, device: str) -> list[dict[Phase, float]]:
    events = iter(make_events(num_steps * _EVENTS_PER_STEP))
    steps: list[list[tuple[Phase | None, torch.cuda.Event]]] = []

    def mark(phase: Phase | None) -> None:
        event = next(events, None) or make_events(1)[0]
        event.record()
        steps[-1].append((phase, event))

    engine.mark = mark
    for _ in range(num_steps):
        steps.append([])
        mark(None)
        arm.take(1)
    torch.cuda.synchronize()
    return [_add_up(marks, elapsed_s) for marks in steps]


def _add_up(
    marks: list[tuple[Phase | None, Any]], subtract: Callable[[Any, Any], float]
) -> dict[Phase, float]:
    """Return the seconds of each phase of one step, from its marks in order."""
    phases: dict[Phase, float] = {}
    for (_, start), (phase, end) in pairwise(marks):
        assert phase is not None, "only the first mark is no phase's"
        phases[phase] = phases.get(phase, 0.0) + subtract(start, end)
    return phases


def _measure_host(arm: Arm, num_steps: int) -> float:
    """Return how long the host takes to ask for a step: a full queue would make it wait for the device."""
    times_s = []
    for _ in range(num_steps):
        torch.cuda.synchronize()
        start = time.perf_counter()
        arm.take(1)
        times_s.append(time.perf_counter() - start)
    torch.cuda.synchronize()
    return statistics.median(times_s)
