"""The number formats of a run, set in one place so that "fp32" means the same on every device."""

from __future__ import annotations

import contextlib
import platform
import warnings
from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from bench.cost import Formats
from bench.data.dataset import Inputs
from bench.errors import Unsupported
from bench.forward import forward
from bench.spec import Precision

# Takes a model and one batch's inputs, as `forward` does.
Call = Callable[[nn.Module, Inputs], Any]

_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}
# What weights, inputs and all between them are in.
_WHOLE = {"bf16_pure": torch.bfloat16, "fp64": torch.float64}
_LOW = _AUTOCAST | {"bf16_pure": torch.bfloat16}


def check(precision: Precision, device: str) -> None:
    """Refuse what this machine can't do: torch itself would switch some of it off and go on in fp32.

    Args:
        precision: What the run asks for.
        device: Kind of its device.

    Raises:
        Unsupported: The device is not there, or lacks the format.
    """
    if device != "cpu" and not getattr(torch, device).is_available():
        raise Unsupported(f"device={device}: torch finds no such device here")
    place = f"precision={precision.name}"
    if precision.name == "auto":
        raise Unsupported(f"{place}: wants a format by name by the time a run starts")
    if precision.name == "tf32":
        if device != "cuda":
            raise Unsupported(f"{place}: wants a CUDA device, got {device}")
        major, minor = torch.cuda.get_device_capability()
        if major < 8:
            raise Unsupported(f"{place}: wants compute capability 8.0 or newer, got {major}.{minor}")
    if precision.name == "fp64" and device == "mps":
        raise Unsupported(f"{place}: MPS has no float64")
    # bfloat16 came to Metal with macOS 14.
    if precision.name == "bf16_pure" and device == "mps" and not torch.backends.mps.is_macos_or_newer(14, 0):
        raise Unsupported(f"{place}: this version of MPS has no bfloat16")
    if precision.name in _AUTOCAST and read_autocast(precision, device) is None:
        raise Unsupported(f"{place}: torch has no such autocast on this {device} device")


def apply(precision: Precision, device: str, model: nn.Module | None = None) -> None:
    """Set torch's process-wide switches; where two runs take turns in one process, before each turn.

    Only the older switches are used: reading them after the newer `fp32_precision` ones were set raises, and
    compiled code reads the older ones (pytorch issue 166387). Whatever autocast leaves in float32 is true
    float32: only `tf32` lets TF32 in.

    Args:
        precision: What the run asks for.
        device: Kind of its device.
        model: Decides which CPU kernels can serve it; None: any.

    Raises:
        Unsupported: As `check`.
    """
    check(precision, device)
    is_tf32 = precision.name == "tf32"
    torch.set_float32_matmul_precision("high" if is_tf32 else "highest")
    # cuDNN convolutions and RNNs default to TF32 even where matrix products do not.
    torch.backends.cudnn.allow_tf32 = is_tf32
    # Decayed momentum of dead units turns denormal and slows a CPU step several times over.
    torch.set_flush_denormal(True)
    # oneDNN's LSTM refuses formats that the processor lacks; torch's own kernels take any. Switched for the
    # whole step, as backward may compute forward again.
    torch.backends.mkldnn.enabled = not _lacks_onednn(precision, device, model)  # type: ignore[assignment]


def cast(model: nn.Module, precision: Precision) -> nn.Module:
    """Return the model, in place in one format under `bf16_pure` and `fp64`: parameters, floating buffers.

    Cast it before its optimizer is made: state then takes the parameters' format.
    """
    return model.to(_WHOLE[precision.name]) if precision.name in _WHOLE else model


def make_call(precision: Precision, device: str) -> Call:
    """Return how a model is called in a format: plainly, under autocast, or with its inputs cast.

    Outputs keep the format the model gives them. Inputs that are whole numbers, such as tokens, stay whole
    numbers under `bf16_pure` and `fp64`.

    Args:
        precision: As `check` lets it pass.
        device: Kind of the model's device.
    """
    if precision.name in _AUTOCAST:
        context = _autocast(precision, device)

        def call_autocast(model: nn.Module, inputs: Inputs) -> Any:
            with context:
                return forward(model, inputs)

        return call_autocast
    if (dtype := _WHOLE.get(precision.name)) is not None:
        return lambda model, inputs: forward(model, _cast_inputs(inputs, dtype))
    return forward


def is_fast(precision: Precision, device: str) -> bool:
    """Return whether the device has instructions for a format, so that its speed says something.

    A format that is emulated gives the right numbers many times slower: no claim about speed follows.

    Args:
        precision: A run's.
        device: Kind of its device; of CUDA devices the current one counts.
    """
    name = precision.name
    if name in ("fp32", "fp64"):
        return True
    if device == "cuda" and torch.cuda.is_available():
        # Tensor cores for float16 came with 7.0, for bfloat16 and TF32 with 8.0.
        return torch.cuda.get_device_capability() >= ((7, 0) if name == "fp16" else (8, 0))
    return device == "cpu" and name in _LOW and _has_instructions(_LOW[name])


def read_autocast(precision: Precision, device: str) -> torch.dtype | None:
    """Return the format autocast is found in where the run calls its model; None where it is off."""
    context: contextlib.AbstractContextManager[object] = contextlib.nullcontext()
    try:
        with warnings.catch_warnings():
            # It says what it can't do in a warning, and goes on without.
            warnings.simplefilter("ignore")
            if precision.name in _AUTOCAST:
                context = _autocast(precision, device)
        with context:
            return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
    except RuntimeError:
        return None


def read_formats(
    precision: Precision,
    device: str,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    outputs: torch.dtype,
    loss: torch.dtype,
    gradients: Collection[torch.dtype] = (),
) -> Formats:
    """Return the formats as they are found after a step; gradients must still be there. Nothing waits.

    Args:
        precision: What was asked for; none of the answers is taken from it.
        device: Kind of the model's device.
        model: What was trained.
        optimizer: By now with its state.
        outputs: Of the model's outputs, as seen in a step.
        loss: Of the loss that backward started from.
        gradients: Of those that the model does not hold itself.
    """
    autocast = read_autocast(precision, device)
    is_tf32 = None
    if device == "cuda":
        is_tf32 = torch.get_float32_matmul_precision() != "highest" or torch.backends.cudnn.allow_tf32
    parameters = list(model.parameters())
    held = tree_leaves(list(optimizer.state.values()))
    return Formats(
        loss=_name(loss),
        outputs=_name(outputs),
        gradients=_name(*gradients, *(one.grad.dtype for one in parameters if one.grad is not None)),
        weights=_name(*(weight.dtype for weight in parameters)),
        state=_name(*(one.dtype for one in held if isinstance(one, Tensor) and one.numel() > 1)),
        autocast=None if autocast is None else _name(autocast)[0],
        is_tf32=is_tf32,
    )


def _autocast(precision: Precision, device: str) -> torch.autocast:
    return torch.autocast(device, _AUTOCAST[precision.name])


def _cast_inputs(inputs: Inputs, dtype: torch.dtype) -> Inputs:
    if isinstance(inputs, Tensor):
        return inputs.to(dtype) if inputs.is_floating_point() else inputs
    if isinstance(inputs, dict):
        return {name: _cast_inputs(tensor, dtype) for name, tensor in inputs.items()}  # type: ignore[misc]
    return tuple(_cast_inputs(tensor, dtype) for tensor in inputs)  # type: ignore[misc]


def _lacks_onednn(precision: Precision, device: str, model: nn.Module | None) -> bool:
    if device != "cpu" or model is None or precision.name not in _LOW or is_fast(precision, device):
        return False
    return any(isinstance(module, nn.LSTM) for module in model.modules())


def _has_instructions(dtype: torch.dtype) -> bool:
    """Return whether the processor computes in a 16-bit format itself."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    if dtype == torch.float16:
        return bool(torch.ops.mkldnn._is_mkldnn_fp16_supported())
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return False
    # On x86 that says yes to any AVX-512 processor: without these instructions it emulates.
    is_x86 = platform.machine().lower() in ("x86_64", "amd64")
    return not is_x86 or torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def _name(*dtypes: torch.dtype) -> tuple[str, ...]:
    return tuple(sorted({str(dtype).removeprefix("torch.") for dtype in dtypes}))
