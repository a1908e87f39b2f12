"""Floating-point operations of one step, counted without computing any."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from bench.cost import Arithmetic
from bench.data.dataset import DataSet, Inputs
from bench.forward import forward, sum_loss
from bench.meter.roof import find_peak
from bench.model.dropout import indices_apart
from bench.spec import Run

# The cells of one model in one process differ in their optimizers only.
_counts: dict[bytes, tuple[int, bool]] = {}


def count_arithmetic(
    run: Run, model: nn.Module, plain: nn.Module, data: DataSet, device_name: str
) -> Arithmetic:
    """Count one step's operations, and name the device's peak in the run's precision.

    What counts are products of matrices and convolutions, forward and backward, a multiplication and an
    addition each; attention as if nothing were masked. The optimizer is not in it.

    Args:
        run: The cell.
        model: As the cell trains it; on any device, untouched.
        plain: The same without recomputing; the same object where nothing is recomputed.
        data: Whose batch it is.
        device_name: As torch names it.
    """
    key = msgspec.json.encode((run.data, run.model, run.budget.batch_size))
    if key not in _counts:
        _counts[key] = count_flops(plain, data, run.budget.batch_size)
    model_flops, is_lower_bound = _counts[key]
    hardware_flops = model_flops
    if plain is not model:
        hardware_flops, _ = count_flops(model, data, run.budget.batch_size)
    peak, source = find_peak(run.device, device_name, run.precision.name)
    return Arithmetic(
        model_flops=float(model_flops),
        hardware_flops=float(hardware_flops),
        peak_flops_per_s=peak,
        peak_source=source,
        is_lower_bound=is_lower_bound,
    )


def count_flops(model: nn.Module, data: DataSet, batch_size: int) -> tuple[int, bool]:
    """Count forward and backward of one batch on fake tensors.

    Args:
        model: Untouched; a copy with fake weights is what runs.
        data: Whose first batch gives the shapes.
        batch_size: Rows.

    Returns:
        Operations, and whether some can't be seen, in a kernel that has no formula.
    """
    inputs, targets = data.train_batch(0, 0, batch_size)
    # A data set's own tensors, such as the constants of its loss, stay real.
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    fake_inputs, fake_targets = _fake_inputs(mode, inputs), _fake(mode, targets)
    fake = _fake_model(mode, model)
    unseen = _Unseen()  # type: ignore[no-untyped-call]
    with indices_apart(), mode, _plain_kernels(), unseen, FlopCounterMode(display=False) as counter:
        loss = sum_loss(data, forward(fake, fake_inputs), fake_targets)
        loss.backward()  # type: ignore[no-untyped-call]
    return counter.get_total_flops(), unseen.is_any


class _Unseen(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notices operations that hide products from the counter: recurrent kernels, and code of others."""

    is_any = False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        is_foreign = func.namespace not in ("aten", "prim", "prims", "profiler")
        is_kernel = any(word in func.name() for word in ("rnn", "lstm", "gru", "attention"))
        hides = (is_foreign or is_kernel) and "lstm_cell" not in func.name()
        if hides and func.overloadpacket not in flop_registry:
            self.is_any = True
        return func(*args, **(kwargs or {}))


@contextmanager
def _plain_kernels() -> Iterator[None]:
    """Have attention and recurrence computed as plain products: the CPU's own kernels have no formula."""
    # The stubs take the switch for the property that it is made with.
    mkldnn: Any = torch.backends.mkldnn
    was_enabled = mkldnn.enabled
    mkldnn.enabled = False
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        mkldnn.enabled = was_enabled


def _fake_model(mode: FakeTensorMode, model: nn.Module) -> nn.Module:
    """Return a copy of a model on fake CPU tensors; nothing large is copied."""
    memo: dict[int, Any] = {}
    for part in model.modules():
        for kept in (*part.parameters(recurse=False), *part.buffers(recurse=False), *vars(part).values()):
            if isinstance(kept, nn.Parameter):
                memo[id(kept)] = nn.Parameter(_fake(mode, kept.detach()), requires_grad=kept.requires_grad)
            elif isinstance(kept, Tensor):
                memo[id(kept)] = _fake(mode, kept.detach())
    return copy.deepcopy(model, memo)


def _fake_inputs(mode: FakeTensorMode, inputs: Inputs) -> Inputs:
    if isinstance(inputs, dict):
        return {name: _fake(mode, tensor) for name, tensor in inputs.items()}
    if isinstance(inputs, tuple):
        return tuple(_fake(mode, tensor) for tensor in inputs)
    return _fake(mode, inputs)


def _fake(mode: FakeTensorMode, tensor: Tensor) -> Tensor:
    with mode:
        return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype)
