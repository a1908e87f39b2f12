"""What one step of a cell costs: time, throughput and memory, measured by itself and apart from training."""

from __future__ import annotations

import itertools

import torch

from bench import train
from bench.engine.eager import Eager
from bench.errors import Unsupported
from bench.identity import cell_id, cost_id
from bench.kinds import SCHEMA
from bench.meter.memory import count_bytes, measure_peak, resident
from bench.meter.time import time_steps
from bench.result import Cost, Machine, Status
from bench.spec import Metering


def measure(metering: Metering, machine: Machine) -> Cost:
    """Measure one cell's plain eager step.

    Args:
        metering: The cell (its run's seed only chooses weights and batches) and how long to measure.
        machine: Recorded beside the numbers.

    Returns:
        The cost; a cell that can't run has a status and no figures.
    """
    try:
        return _measure(metering, machine)
    except torch.OutOfMemoryError as error:
        return _empty(metering, machine, "oom", str(error).splitlines()[0])
    except Unsupported as error:
        return _empty(metering, machine, "unsupported", str(error))
    except Exception as error:
        return _empty(metering, machine, "failed", f"{type(error).__name__}: {error}".splitlines()[0][:300])


def _measure(metering: Metering, machine: Machine) -> Cost:
    run, meter = metering.run, metering.meter
    model, optimizer, data = train.prepare(run)
    model.train()
    engine = Eager(run, model, optimizer, data)
    # The schedule has run.budget.steps entries; the meter may need more steps than that.
    positions = itertools.cycle(range(run.budget.steps))

    def step() -> object:
        return engine.step(next(positions))

    times = time_steps(step, warmup_steps=meter.warmup_steps, steps=meter.steps, device=run.device)
    held = count_bytes(model, optimizer)
    # Beside the model's own: the batch that the engine keeps until the next step.
    peak_bytes, peak_source = measure_peak(
        step, itertools.chain(resident(model, optimizer), engine.list_held()), run.device
    )
    return Cost(
        schema=SCHEMA,
        id=cost_id(metering),
        cell_id=cell_id(run),
        run=run,
        status="finished",
        detail=None,
        num_steps=meter.steps,
        step_mean_s=times.mean_s,
        step_p50_s=times.p50_s,
        step_p99_s=times.p99_s,
        items_per_s=engine.num_step_items / times.mean_s,
        clock=times.clock,
        num_params=sum(parameter.numel() for parameter in model.parameters()),
        params_bytes=held.params_bytes,
        grads_bytes=held.grads_bytes,
        state_bytes=held.state_bytes,
        peak_bytes=peak_bytes,
        peak_source=peak_source,
        machine=machine,
    )


def _empty(metering: Metering, machine: Machine, status: Status, detail: str) -> Cost:
    return Cost(
        schema=SCHEMA,
        id=cost_id(metering),
        cell_id=cell_id(metering.run),
        run=metering.run,
        status=status,
        detail=detail,
        num_steps=0,
        step_mean_s=None,
        step_p50_s=None,
        step_p99_s=None,
        items_per_s=None,
        clock=None,
        num_params=None,
        params_bytes=None,
        grads_bytes=None,
        state_bytes=None,
        peak_bytes=None,
        peak_source=None,
        machine=machine,
    )
