"""Layers that are slow, or have no rule, where many models run as one: what to compute for all at once."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def quicken(model: nn.Module) -> None:
    """Let a model's linear maps be one batched product under vmap; outside it they are as they were.

    torch's own rule for them gives gradients of weights that lie transposed in memory, which costs each
    optimizer's pass over them about twice the time, and adds the bias in a pass of its own.

    Args:
        model: Changed in place; no class of it is.
    """
    for module in model.modules():
        # A subclass may compute something else.
        if type(module) is nn.Linear:
            module.forward = _Called(module)  # type: ignore[method-assign, assignment]


class _Called:
    """A linear layer's forward, with the weights that the layer has when it is called."""

    def __init__(self, layer: nn.Linear) -> None:
        self._layer = layer

    def __call__(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = _Linear.apply(inputs, self._layer.weight, self._layer.bias)  # type: ignore[no-untyped-call]
        return outputs


class _Linear(torch.autograd.Function):
    """A linear map that says what it is for a batch of weights; only there is it differentiated."""

    @staticmethod
    def forward(inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return F.linear(inputs, weight, bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Keep nothing: where this runs no gradient is asked for."""

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
        if bias is None:
            return torch.bmm(inputs, weight.transpose(1, 2))
        return torch.baddbmm(bias.unsqueeze(1), inputs, weight.transpose(1, 2))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        inputs, weight = ctx.saved_tensors
        wants_inputs, wants_weight, wants_bias = ctx.needs_input_grad
        return (
            torch.bmm(gradient, weight) if wants_inputs else None,
            torch.bmm(gradient.transpose(1, 2), inputs) if wants_weight else None,
            gradient.sum(1) if wants_bias else None,
        )


class Attention(torch.autograd.Function):
    """Scaled dot-product attention of many models: their heads are as good as more rows of one."""

    @staticmethod
    def forward(queries: Tensor, keys: Tensor, values: Tensor, is_causal: bool) -> Tensor:
        return F.scaled_dot_product_attention(queries, keys, values, is_causal=is_causal)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Keep nothing: where this runs no gradient is asked for."""

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
