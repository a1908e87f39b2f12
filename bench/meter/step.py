"""What one step of a cell costs: time, arithmetic and memory, measured by itself and apart from training."""

from __future__ import annotations

import gc
import itertools
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
import torch

from bench import build, precision
from bench.cost import Arithmetic
from bench.errors import Unsupported
from bench.meter.arithmetic import count_arithmetic
from bench.meter.cell import Cell, make_cell, make_reference
from bench.meter.compiled import Started, start_compiled, weigh_compiling
from bench.meter.memory import count_bytes, measure_peak, resident
from bench.meter.outcome import conclude
from bench.meter.phases import measure_phases
from bench.meter.predict import predict
from bench.meter.time import collector_off, pick_clock
from bench.meter.timing import time_cell, warm_up
from bench.meter.update import measure_update
from bench.result import Cost, Machine, Status
from bench.spec import Compile, Metering

T = TypeVar("T")
# Figures of a cost by the name of their field.
Figures = dict[str, Any]

# Shares of `meter.seconds` that the breakdown and each timing of the optimizer alone get.
_PHASES, _UPDATE = 0.1, 0.05


def measure(metering: Metering, machine: Machine) -> Cost:
    """Measure one cell's step.

    Args:
        metering: The cell (its run's seed only chooses weights and batches) and how long to measure.
        machine: Recorded beside the numbers.

    Returns:
        The cost. A cell that can't run has a status and no figures; a figure that can't be had is None, and a
        note says why.
    """
    is_cuda, notes = metering.run.device == "cuda", _Notes()
    try:
        _collect(metering.run.device)
        with start_compiled(metering.run, notes.lines) as started, collector_off():
            figures = _measure(metering, machine, started, notes)
    except Exception as error:
        return conclude(metering, machine, *_explain(error), {"notes": tuple(notes.lines)})
    # Nothing of the cell is left by now; what is allocated is cuBLAS's own.
    _collect(metering.run.device)
    figures["workspace_bytes"] = torch.cuda.memory_allocated() if is_cuda else None
    return conclude(metering, machine, "finished", None, figures | {"notes": tuple(notes.lines)})


def _measure(metering: Metering, machine: Machine, started: Started | None, notes: _Notes) -> Figures:
    run, meter = metering.run, metering.meter
    cell = make_cell(run)
    warm_up(cell, meter)
    figures: Figures = {"is_fast": precision.is_fast(run.precision, run.device)}
    figures["formats"] = cell.engine.read_formats()
    # Memory first, while nothing else is there.
    figures |= _measure_memory(cell, notes)
    if started is None:
        # A new one for the clock, without what the profiler left; what is compiled would be compiled again.
        del cell
        _collect(run.device)
        cell = make_cell(run)
        warm_up(cell, meter)
    if not figures["is_fast"]:
        notes.lines.append(f"speed: {run.precision.name} is emulated on this {run.device}, no claim follows")

    def add(make: Callable[[], Cell]) -> Cell:
        added = make()
        warm_up(added, meter)
        return added

    reference = notes.attempt("reference", lambda: add(lambda: make_reference(run, cell.data)))
    eager = None
    if started is not None:
        plain = msgspec.structs.replace(run, compile=Compile())
        eager = notes.attempt("compiling: eager step", lambda: add(lambda: make_cell(plain)))

    def make_again() -> tuple[Cell, Cell]:
        # In the other order: neither lies where the first one of a process does.
        again = add(lambda: make_reference(run, cell.data))
        return add(lambda: make_cell(run)), again

    timing = time_cell(cell, reference, eager, meter, make_again if started is None else None)
    notes.lines += timing.notes
    steps, step_s = timing.steps, timing.steps.p50_s
    num_steps = max(3, min(100, int(_PHASES * meter.seconds / step_s)))
    seconds = _UPDATE * meter.seconds
    # Each in the cell's own number formats, which the reference may have changed.
    cell.arm.enter()
    phases = notes.attempt("breakdown", lambda: measure_phases(cell.engine, cell.arm, num_steps, run.device))
    update = notes.attempt("optimizer alone", lambda: measure_update(cell, machine.device_name, seconds))
    return figures | {
        "num_steps": steps.num_steps,
        "step_mean_s": steps.mean_s,
        "step_p25_s": steps.p25_s,
        "step_p50_s": step_s,
        "step_p75_s": steps.p75_s,
        "step_p99_s": steps.p99_s,
        "items_per_s": cell.engine.num_step_items / steps.mean_s,
        "clock": pick_clock(run.device),
        "period": timing.period,
        "reference": timing.reference,
        "clocks": timing.clocks,
        "compiling": None if started is None else weigh_compiling(started, step_s, timing.eager_s),
        "breakdown": phases,
        "update": update,
        "arithmetic": notes.attempt("arithmetic", lambda: _count(cell, machine.device_name)),
        "predicted": notes.attempt("predicted memory", lambda: predict(run)),
    }


def _measure_memory(cell: Cell, notes: _Notes) -> Figures:
    # Beside the model's own: the batch that the engine keeps until the next step.
    held = itertools.chain(resident(cell.model, cell.optimizer), cell.engine.list_held())
    peak = notes.attempt("peak memory", lambda: measure_peak(cell.step, held, cell.run.device))
    peak_bytes, peak_source = peak or (None, None)
    return {
        "num_params": sum(parameter.numel() for parameter in cell.model.parameters()),
        **count_bytes(cell.model, cell.optimizer)._asdict(),
        "peak_bytes": peak_bytes,
        "peak_source": peak_source,
        "reserved_bytes": torch.cuda.max_memory_reserved() if cell.run.device == "cuda" else None,
    }


def _count(cell: Cell, device_name: str) -> Arithmetic:
    is_plain = cell.run.recompute.name == "none"
    # Operations without recomputing want a model without it.
    plain = cell.model if is_plain else build.build_model(cell.run, cell.data)
    return count_arithmetic(cell.run, cell.model, plain, cell.data, device_name)


class _Notes:
    """One line for each figure that is missing, or is not what it seems."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def attempt(self, what: str, make: Callable[[], T]) -> T | None:
        """Return what is made, or None and a note that says why not."""
        try:
            return make()
        except Exception as error:
            status, detail = _explain(error)
            self.lines.append(
                f"{what}: {detail}" if status == "unsupported" else f"{what}: {status}, {detail}"
            )
            return None


def _explain(error: Exception) -> tuple[Status, str]:
    line = (str(error).strip().splitlines() or ["no message"])[0][:300]
    # What a CPU's allocator raises has no class of its own.
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or "DefaultCPUAllocator" in line:
        return "oom", line
    if isinstance(error, Unsupported):
        return "unsupported", line
    return "failed", f"{type(error).__name__}: {line}"


def _collect(device: str) -> None:
    if device == "cuda" and torch.cuda.is_available():
        gc.collect()
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
