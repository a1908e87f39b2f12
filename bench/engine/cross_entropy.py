"""Cross-entropy over few classes for many models at once: torch's own takes a row of logits at a time."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

# Rows of more are long enough for vectors of their own.
MOST_CLASSES = 64
_SIGNATURE = inspect.signature(F.cross_entropy)
# What torch leaves out, and its options where all that is asked for is a sum.
_IGNORED = -100
_SUM = [{"reduction": "sum"}.get(name, one.default) for name, one in _SIGNATURE.parameters.items()][2:]


class Columnwise(TorchFunctionMode):
    """While it is on, sums of cross-entropies under vmap are computed over columns of rows, not over rows.

    Any other call is torch's own, and so is every one outside vmap.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """See torch."""
        named = dict(kwargs or {})
        if func is F.cross_entropy:
            asked = _SIGNATURE.bind(*args, **named)
            asked.apply_defaults()
            logits, targets, *options = asked.arguments.values()
            is_sum = options == _SUM and (logits.ndim, targets.ndim) == (2, 1)
            if is_sum and logits.device.type == "cpu" and logits.shape[1] <= MOST_CLASSES:
                return _CrossEntropy.apply(logits, targets)  # type: ignore[no-untyped-call]
        return func(*args, **named)


class _CrossEntropy(torch.autograd.Function):
    """The sum over rows, which says what it is for a batch of them; only there is it differentiated."""

    @staticmethod
    def forward(logits: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(logits, targets, reduction="sum")

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Keep nothing: where this runs no gradient is asked for."""

    @staticmethod
    def vmap(info: Any, dims: tuple[int | None, ...], logits: Tensor, targets: Tensor) -> tuple[Tensor, int]:
        # (num, rows, classes) and (num, rows).
        logits, targets = (
            one.expand(info.batch_size, *one.shape) if dim is None else one.movedim(dim, 0)
            for one, dim in zip((logits, targets), dims, strict=True)
        )
        return _Sum.apply(logits, targets), 0  # type: ignore[no-untyped-call]


class _Sum(torch.autograd.Function):
    """Each model's sum of the negative log-likelihoods of its targets."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor) -> Tensor:
        # (num, classes, rows): a row's classes stand a stride apart, so that vectors hold many rows.
        logs = torch.log_softmax(logits.transpose(1, 2).contiguous(), 1)
        is_left_out = (targets == _IGNORED).unsqueeze(1)
        places = targets.unsqueeze(1).masked_fill(is_left_out, 0)
        ctx.save_for_backward(logs, places, is_left_out)
        return -logs.gather(1, places).masked_fill(is_left_out, 0.0).sum((1, 2))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        logs, places, is_left_out = ctx.saved_tensors
        scale = gradients[0].view(-1, 1, 1).expand(places.shape).masked_fill(is_left_out, 0.0)
        found = logs.exp() * scale
        found = found.scatter_add(1, places, -scale)
        return found.transpose(1, 2), None
