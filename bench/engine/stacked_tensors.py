"""What is done to the tensors of many models at once, which lie with the members first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bench.data.dataset import Inputs

Tensors = dict[str, Tensor]


def stack(each: Sequence[dict[str, Any]]) -> Tensors:
    """Return what each model holds by name, stacked: members first."""
    return {name: torch.stack([one[name].detach() for one in each]) for name in each[0]}


def point(model: nn.Module, weights: Tensors, buffers: Tensors, place: int) -> None:
    """Make a model's weights and buffers views of its place in a stack."""
    for name, weight in model.named_parameters():
        weight.data = weights[name].detach()[place]
    for name, buffer in model.named_buffers():
        buffer.data = buffers[name][place]


def add(
    one: tuple[Tensor, list[Tensor | None]], other: tuple[Tensor, list[Tensor | None]]
) -> tuple[Tensor, list[Tensor | None]]:
    """Return the sums of two parts' losses and gradients; those of the first are used up."""
    added = [b if a is None else a if b is None else a.add_(b) for a, b in zip(one[1], other[1], strict=True)]
    return one[0] + other[0], added


def clip(gradients: Sequence[Tensor | None], norms: Sequence[float | None]) -> None:
    """Bound the norm of each member's gradient, as torch.nn.utils.clip_grad_norm_ does a model's."""
    found = [gradient for gradient in gradients if gradient is not None]
    parts = [torch.linalg.vector_norm(one.flatten(1), dim=1) for one in found]
    total = torch.linalg.vector_norm(torch.stack(parts, dim=1), dim=1)
    bounds = torch.tensor([torch.inf if norm is None else norm for norm in norms], device=total.device)
    factors = (bounds.to(total.dtype) / (total + 1e-6)).clamp(max=1.0)
    for one in found:
        one.mul_(factors.view(-1, *[1] * (one.ndim - 1)))


def spread(inputs: Inputs, num: int) -> Inputs:
    """Return inputs that are the same for all members as if each had its own: views, no copies.

    A convolution of shared inputs takes all members' channels in one product, whose sums round in another
    order than those of a member alone.

    Args:
        inputs: One tensor, or several by name.
        num: Members.
    """
    if isinstance(inputs, Tensor):
        return inputs.expand(num, *inputs.shape)
    if isinstance(inputs, dict):
        return {name: one.expand(num, *one.shape) for name, one in inputs.items()}
    return tuple(one.expand(num, *one.shape) for one in inputs)
