"""Layers that are slow, or have no rule, where many models run as one: what to compute for all at once."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Columns of a product below which a CPU's kernels run at a half to a tenth of their pace, on the dimension
# that lies densely; with the result the other way round they don't.
_NARROW = 16


def quicken(model: nn.Module) -> None:
    """Let a model's linear maps and group norms be one operation under vmap; outside they are as they were.

    torch's own rule for linear maps gives gradients of weights that lie transposed in memory, which costs
    each optimizer's pass over them about twice the time, and adds the bias in a pass of its own. That for
    group norms refuses what convolutions hand it where channels come last in memory.

    Args:
        model: Changed in place; no class of it is.
    """
    for module in model.modules():
        # A subclass may compute something else.
        if type(module) is nn.Linear:
            module.forward = _Called(module)  # type: ignore[method-assign, assignment]
        elif type(module) is nn.GroupNorm:
            module.forward = _Normed(module)  # type: ignore[method-assign, assignment]


class _Called:
    """A linear layer's forward, with the weights that the layer has when it is called."""

    def __init__(self, layer: nn.Linear) -> None:
        self._layer = layer

    def __call__(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = _Linear.apply(inputs, self._layer.weight, self._layer.bias)  # type: ignore[no-untyped-call]
        return outputs


class _Ruled(torch.autograd.Function):
    """An operation whose rule under vmap is all that is asked of it: it is differentiated inside that."""

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Keep nothing: where this runs no gradient is asked for."""


class _Linear(_Ruled):
    """A linear map that says what it is for a batch of weights; only there is it differentiated."""

    @staticmethod
    def forward(inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return F.linear(inputs, weight, bias)

    @staticmethod
    def vmap(
        info: Any, dims: tuple[int | None, ...], inputs: Tensor, weight: Tensor, bias: Tensor | None
    ) -> tuple[Tensor, int]:
        num = info.batch_size
        inputs = _stack(inputs, dims[0], num)
        weight = _stack(weight, dims[1], num)
        bias = None if bias is None else _stack(bias, dims[2], num)
        # (num, rows, features), whatever stands between.
        outputs = _multiply(inputs.flatten(1, -2) if inputs.ndim > 2 else inputs[:, None], weight, bias)
        return outputs.view(*inputs.shape[:-1], weight.shape[1]), 0


def _stack(tensor: Tensor, dim: int | None, num: int) -> Tensor:
    return tensor.expand(num, *tensor.shape) if dim is None else tensor.movedim(dim, 0)


def _multiply(inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    if torch.is_autocast_enabled(inputs.device.type):
        dtype = torch.get_autocast_dtype(inputs.device.type)
        inputs, weight = inputs.to(dtype), weight.to(dtype)
        bias = None if bias is None else bias.to(dtype)
        with torch.autocast(inputs.device.type, enabled=False):
            return _Product.apply(inputs, weight, bias)  # type: ignore[no-any-return, no-untyped-call]
    return _Product.apply(inputs, weight, bias)  # type: ignore[no-any-return, no-untyped-call]


class _Product(torch.autograd.Function):
    """`inputs @ weight^T + bias` of each member, whose gradients lie in memory as the weights do."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(inputs, weight)
        return _times(inputs, weight.transpose(1, 2), bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        inputs, weight = ctx.saved_tensors
        wants_inputs, wants_weight, wants_bias = ctx.needs_input_grad
        return (
            _times(gradient, weight) if wants_inputs else None,
            _times(gradient.transpose(1, 2), inputs).contiguous() if wants_weight else None,
            gradient.sum(1) if wants_bias else None,
        )


def _times(first: Tensor, second: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return `first @ second + bias` of each member, which lies transposed in memory where that is faster.

    Args:
        first: (num, rows, inner).
        second: (num, inner, columns).
        bias: (num, columns).
    """
    if first.device.type == "cpu" and second.shape[2] < _NARROW:
        left, right = second.transpose(1, 2), first.transpose(1, 2)
        found = torch.bmm(left, right) if bias is None else torch.baddbmm(bias.unsqueeze(2), left, right)
        return found.transpose(1, 2)
    return torch.bmm(first, second) if bias is None else torch.baddbmm(bias.unsqueeze(1), first, second)


class _Normed:
    """A group norm's forward, with the weights that the layer has when it is called."""

    def __init__(self, layer: nn.GroupNorm) -> None:
        self._layer = layer

    def __call__(self, inputs: Tensor) -> Tensor:
        one = self._layer
        outputs: Tensor = _GroupNorm.apply(inputs, one.weight, one.bias, one.num_groups, one.eps)  # type: ignore[no-untyped-call]
        return outputs


class _GroupNorm(_Ruled):
    """A group norm of many models: their rows are as good as more rows of one, and the weights come after."""

    @staticmethod
    def forward(
        inputs: Tensor, weight: Tensor | None, bias: Tensor | None, num_groups: int, eps: float
    ) -> Tensor:
        return F.group_norm(inputs, num_groups, weight, bias, eps)

    @staticmethod
    def vmap(
        info: Any,
        dims: tuple[int | None, ...],
        inputs: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        num_groups: int,
        eps: float,
    ) -> tuple[Tensor, int]:
        num = info.batch_size
        inputs = _stack(inputs, dims[0], num)
        # Rounded once, after the weights; a GPU's autocast leaves it as wide as they are.
        wide = inputs if weight is None else inputs.to(torch.promote_types(inputs.dtype, weight.dtype))
        outputs = F.group_norm(wide.flatten(0, 1), num_groups, eps=eps).view(inputs.shape)
        shape = (num, 1, -1, *[1] * (inputs.ndim - 3))
        if weight is not None:
            outputs = outputs * _stack(weight, dims[1], num).view(shape)
        if bias is not None:
            outputs = outputs + _stack(bias, dims[2], num).view(shape)
        return outputs if inputs.device.type == "cuda" else outputs.to(inputs.dtype), 0


class Attention(_Ruled):
    """Scaled dot-product attention of many models: their heads are as good as more rows of one."""

    @staticmethod
    def forward(queries: Tensor, keys: Tensor, values: Tensor, is_causal: bool) -> Tensor:
        return F.scaled_dot_product_attention(queries, keys, values, is_causal=is_causal)

    @staticmethod
    def vmap(
        info: Any,
        dims: tuple[int | None, ...],
        queries: Tensor,
        keys: Tensor,
        values: Tensor,
        is_causal: bool,
    ) -> tuple[Tensor, int]:
        num = info.batch_size
        parts = (_stack(part, dim, num) for part, dim in zip((queries, keys, values), dims, strict=False))
        queries, keys, values = (part.flatten(0, 1) for part in parts)
        mixed = F.scaled_dot_product_attention(queries, keys, values, is_causal=is_causal)
        return mixed.view(num, -1, *mixed.shape[1:]), 0
