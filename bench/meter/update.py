"""The optimizer's step alone, against the bytes it has to move and the calls it has to make."""

from __future__ import annotations

import copy
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from bench import build
from bench.cost import Update
from bench.meter.cell import Cell
from bench.meter.memory import count_bytes
from bench.meter.roof import find_peak, measure_bandwidth
from bench.meter.time import elapsed_s, make_events, time_block

# So small that no weight moves by more than its rounding, however many steps are timed.
_STILL_LR = 1e-12
# Written between steps on CUDA, so that each begins with its tensors in memory rather than in cache.
_FLUSH_BYTES = 256 * 2**20
_MOST_STEPS, _TURNS = 200, 4


def measure_update(cell: Cell, device_name: str, seconds: float) -> Update:
    """Measure `optimizer.step()` with gradients there, and what bounds it.

    `launch`: over as many tensors of one element each, the same optimizer takes at least half as long: what
    it does to the weights is not what takes the time. Else, as in the roofline model, `compute` where its
    matrix products (Newton-Schulz, preconditioners) would take longer at the device's peak than its bytes at
    the bandwidth roof, and `bandwidth` where the bytes would. On a CPU a model that fits the cache may move
    its bytes faster than the roof, which is that of the memory; on CUDA the cache is flushed before a step.

    Source: Williams et al., 2009, "Roofline: an insightful visual performance model for multicore
    architectures".

    Args:
        cell: After at least one step. Its weights stay where they are, up to rounding; its optimizer's state
            does not.
        device_name: As torch names it.
        seconds: To spend on either of the two timings, about.
    """
    run, model, optimizer = cell.run, cell.model, cell.optimizer
    held = [p for p in model.parameters() if p.requires_grad]
    weights_bytes = sum(p.numel() * p.element_size() for p in held)
    _fill_gradients(held)
    state_bytes = count_bytes(model, optimizer).state_bytes
    ideal_bytes = 2 * weights_bytes + _gradient_bytes(held) + 2 * state_bytes
    tiny = shrink(model)
    _fill_gradients(list(tiny.parameters()))
    idle = build.build_optimizer(run.optimizer, tiny)
    with _standing_still(optimizer):
        # In turns: what disturbs the machine for a while falls on both.
        times_s = [
            [_time_steps(each, run.device, seconds / _TURNS) for each in (optimizer, idle)]
            for _ in range(_TURNS)
        ]
        flops = _count_flops(optimizer)
    step_s, floor_s = (
        statistics.median(time_s for turn in times_s for time_s in turn[place]) for place in (0, 1)
    )
    roof_bytes_per_s = measure_bandwidth(run.device)
    bound: Any = "bandwidth"
    if floor_s >= step_s / 2:
        bound = "launch"
    elif flops:
        # Products in an optimizer are in the fastest format it can afford: 16 bits on a GPU.
        peak, _ = find_peak(run.device, device_name, "bf16" if run.device == "cuda" else "fp32")
        bound = "compute" if flops / peak > ideal_bytes / roof_bytes_per_s else "bandwidth"
    return Update(
        step_s=step_s,
        ideal_bytes=ideal_bytes,
        roof_bytes_per_s=roof_bytes_per_s,
        floor_s=floor_s,
        bound=bound,
    )


def shrink(model: nn.Module) -> nn.Module:
    """Return a copy of a model in which every parameter is one element, of as many dimensions as before.

    Nothing large is copied. The copy can't compute; an optimizer sees the same parameters by number, kind,
    name and format.
    """
    memo: dict[int, Any] = {}
    for parameter in model.parameters():
        one = torch.ones((1,) * parameter.ndim, dtype=parameter.dtype, device=parameter.device)
        memo[id(parameter)] = nn.Parameter(one, requires_grad=parameter.requires_grad)
    # Shared rather than copied: nobody looks at them.
    memo |= {id(buffer): buffer for buffer in model.buffers()}
    memo |= {
        id(kept): kept for part in model.modules() for kept in vars(part).values() if isinstance(kept, Tensor)
    }
    return copy.deepcopy(model, memo)


def _fill_gradients(parameters: list[nn.Parameter]) -> None:
    for parameter in parameters:
        if parameter.requires_grad and parameter.grad is None:
            parameter.grad = torch.full_like(parameter, 1e-3)


def _gradient_bytes(parameters: list[nn.Parameter]) -> int:
    return sum(p.grad.numel() * p.grad.element_size() for p in parameters if p.grad is not None)


@contextmanager
def _standing_still(optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Hold the weights where they are while the optimizer does all its work."""
    lrs = [group["lr"] for group in optimizer.param_groups]
    try:
        for group in optimizer.param_groups:
            group["lr"] = (
                torch.full_like(lr, _STILL_LR) if isinstance(lr := group["lr"], Tensor) else _STILL_LR
            )
        yield
    finally:
        for group, lr in zip(optimizer.param_groups, lrs, strict=True):
            group["lr"] = lr


def _time_steps(optimizer: torch.optim.Optimizer, device: str, seconds: float) -> list[float]:
    """Return what steps take, in seconds; as many as there is time for."""

    def step(_: int) -> None:
        optimizer.step()

    # Lazy state, then what a step takes about.
    step(0)
    first_s = min(time_block(step, range(3), device)())
    num = max(5, min(_MOST_STEPS, int(seconds / max(first_s, 1e-7))))
    if device != "cuda":
        return time_block(step, range(num), device)()
    flushed = torch.empty(_FLUSH_BYTES, dtype=torch.int8, device=device)
    starts, ends = make_events(num), make_events(num)
    for number in range(num):
        flushed.zero_()
        starts[number].record()
        step(number)
        ends[number].record()
    torch.cuda.synchronize()
    return [elapsed_s(start, end) for start, end in zip(starts, ends, strict=True)]


def _count_flops(optimizer: torch.optim.Optimizer) -> int:
    """Return the operations of the matrix products in one step."""
    with FlopCounterMode(display=False) as counter:
        optimizer.step()
    return int(counter.get_total_flops())
