"""How many bytes training holds, and how many it needs at its worst moment: counted, not sampled."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile, record_function

from bench.errors import Unsupported
from bench.meter.time import collector_off

PeakSource = Literal["cuda_allocator", "cpu_allocator_events"]

# What CUDA's allocator rounds a block up to a multiple of (kMinBlockSize in its source).
CUDA_GRANULE = 512
_NUM_CUDA_STEPS = 3
_MEASURED = "bench: measured step"


class HeldBytes(NamedTuple):
    """What stays between steps, each storage counted once, in bytes."""

    params_bytes: int
    grads_bytes: int
    state_bytes: int


def count_bytes(model: nn.Module, optimizer: torch.optim.Optimizer) -> HeldBytes:
    """Count parameters, gradients and optimizer state, after at least one step.

    A gradient that is not there now (cleared after the step) counts as its parameter's size, which is what it
    takes while it lives. State is what an optimizer keeps per parameter: tensors of more than one element or
    of the parameter's own shape. Left out are its counters, such as Adam's `step` (4 bytes per tensor, on the
    host by default), so that SGD, momentum and Adam come out at 0, 4 and 8 bytes per fp32 parameter.

    Args:
        model: Tied weights count once.
        optimizer: Its state may be nested in lists, tuples and dicts.
    """
    parameters = list(model.parameters())
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    gradients = [parameter.grad for parameter in trained if parameter.grad is not None]
    absent_bytes = sum(_storage_bytes([p], set()) for p in trained if p.grad is None)
    state = [
        tensor
        for parameter, held in optimizer.state.items()
        for tensor in _tensors(held)
        if tensor.numel() > 1 or tensor.shape == getattr(parameter, "shape", None)
    ]
    # One set for all three: state that is only another view of the weights takes no memory of its own.
    seen: set[int] = set()
    return HeldBytes(
        params_bytes=_storage_bytes(parameters, seen),
        grads_bytes=_storage_bytes(gradients, seen) + absent_bytes,
        state_bytes=_storage_bytes(state, seen),
    )


def resident(model: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[Tensor]:
    """Yield what a model and its optimizer hold before a step.

    Parameters, their gradients, buffers, tensors that modules keep as plain attributes (a cached index), and
    the whole optimizer state. A batch that the step's owner keeps until the next is for the caller to add.
    """
    for parameter in model.parameters():
        yield parameter
        if parameter.grad is not None:
            yield parameter.grad
    yield from model.buffers()
    for module in model.modules():
        yield from (kept for kept in vars(module).values() if isinstance(kept, Tensor))
    for held in optimizer.state.values():
        yield from _tensors(held)


def measure_peak(
    step: Callable[[], object], resident: Iterable[Tensor], device: str
) -> tuple[int, PeakSource]:
    """Measure the most bytes that one steady step needs at once.

    One step is taken first, unmeasured, so that lazy optimizer state exists; take more before if the step is
    not steady by then. What is counted is what the step adds at its worst moment to the resident bytes: a
    resident data set is not in it, a batch gathered in the step is. On a CPU that is read from the
    allocator's own events in one step, and nothing of the process reaches stderr meanwhile. On CUDA it is
    read from the allocator's peaks in three steps, which have to be equal; its rounding and cuBLAS's
    workspace are in it.

    Args:
        step: Takes one whole training step.
        resident: Tensors there before the step, as `resident` yields them; read after the unmeasured step.
        device: Device type the step runs on.

    Returns:
        Peak in bytes, and where it was read.

    Raises:
        Unsupported: The device has no way to tell, or the peak is another one in each step.
    """
    if device == "cuda":
        with collector_off():
            return _measure_cuda(step, resident), "cuda_allocator"
    if device != "cpu":
        raise Unsupported(f"meter: peak memory can't be measured on {device}")
    with _stderr_silenced(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        # In the profile too: freeing what was allocated before it makes no event, such as an old gradient.
        step()
        # What is left in circles, of this step or of an earlier cell, must not be freed in the measured one.
        with collector_off():
            held_bytes = _storage_bytes(resident, set())
            with record_function(_MEASURED):
                step()
    return held_bytes + _peak_of_events(profiler), "cpu_allocator_events"


def _measure_cuda(step: Callable[[], object], resident: Iterable[Tensor]) -> int:
    step()
    torch.cuda.synchronize()
    held_bytes = _storage_bytes(resident, set(), CUDA_GRANULE)
    start_bytes = torch.cuda.memory_allocated()
    # A first round may still find plans and workspaces to make.
    for _ in range(2):
        peaks = [_read_cuda_peak(step) for _ in range(_NUM_CUDA_STEPS)]
        if len(set(peaks)) == 1:
            break
        start_bytes = torch.cuda.memory_allocated()
    else:
        raise Unsupported(f"meter: the peak is another one in each step: {', '.join(map(str, peaks))} bytes")
    before_bytes = torch.cuda.memory_allocated()
    # Made again when they are next wanted.
    torch._C._cuda_clearCublasWorkspaces()
    workspace_bytes = before_bytes - torch.cuda.memory_allocated()
    return held_bytes + workspace_bytes + peaks[0] - start_bytes


def _read_cuda_peak(step: Callable[[], object]) -> int:
    torch.cuda.reset_peak_memory_stats()
    step()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated()


def _peak_of_events(profiler: profile) -> int:
    """Return the most bytes allocated and not yet freed since the measured step began."""
    recorded = profiler.profiler
    assert recorded is not None and recorded.kineto_results is not None, "the profiler recorded nothing"
    # Any: the type stubs of these events leave out `nbytes`.
    events: list[Any] = list(recorded.kineto_results.events())
    start_ns = next(event.start_ns() for event in events if event.name() == _MEASURED)
    changes = [event for event in events if event.name() == "[memory]" and event.start_ns() >= start_ns]
    current = peak = 0
    for change in sorted(changes, key=lambda event: event.start_ns()):
        current += change.nbytes()
        peak = max(peak, current)
    return peak


@contextmanager
def _stderr_silenced() -> Iterator[None]:
    """Hide what the profiler's C++ libraries print: each start and stop, and each free without an event."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _tensors(held: Any) -> Iterator[Tensor]:
    if isinstance(held, Tensor):
        yield held
    elif isinstance(held, Mapping):
        for item in held.values():
            yield from _tensors(item)
    elif isinstance(held, list | tuple):
        for item in held:
            yield from _tensors(item)


def _storage_bytes(tensors: Iterable[Tensor], seen: set[int], granule: int = 1) -> int:
    """Return the bytes of the storages not seen yet, each rounded up to a granule, and remember them."""
    total = 0
    for tensor in tensors:
        storage = tensor.untyped_storage()
        # Of the storage itself: those of fake tensors have no data.
        if storage._cdata not in seen:
            seen.add(storage._cdata)
            total += -(-storage.nbytes() // granule) * granule
    return total
