"""Muon of many models at once: Newton-Schulz on stacks of matrices, Adam's rule for the rest."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from bench.engine.stacked.adam import StackedAdam
from bench.engine.stacked.layout import (
    Columns,
    count_members,
    is_on,
    lerp,
    make_column,
    order_dimensions,
    sum_rows,
    view_gradient,
)
from bench.engine.stacked.rule import State, is_plain

_MATRICES = frozenset(
    {"weight_decay", "momentum", "nesterov", "ns_coefficients", "eps", "ns_steps", "adjust_lr_fn"}
)


class StackedMuon:
    """As bench.optimizer.muon.Muon: a group's `kind` says which half it belongs to."""

    varying: ClassVar[frozenset[str]] = frozenset({"weight_decay", "momentum", "betas", "eps"})

    def __init__(self) -> None:
        self._others = StackedAdam()

    def can_stack(self, group: Mapping[str, Any]) -> bool:
        """See Rule."""
        return is_plain(group, _MATRICES) if _is_hidden(group) else self._others.can_stack(group)

    def make_state(self, weight: Tensor, group: Mapping[str, Any]) -> State:
        """See Rule; the momentum of a kernel is that of the matrix which the optimizer makes of it."""
        if not _is_hidden(group):
            return self._others.make_state(weight, group)
        return {"momentum_buffer": weight.new_zeros(*weight.shape[:2], weight[0, 0].numel())}

    def update(
        self,
        weights: Sequence[Tensor],
        gradients: Sequence[Tensor],
        states: Sequence[State],
        lr: Tensor,
        options: Mapping[str, Any],
    ) -> None:
        """See Rule."""
        if not _is_hidden(options):
            self._others.update(weights, gradients, states, lr, options)
            return
        exact, decay = make_column(lr, lr), options["weight_decay"]
        momentum = make_column(options["momentum"], lr)
        shrunk = 1 - exact * make_column(decay, lr) if is_on(decay) else None
        columns = Columns(exact, 1 - momentum, momentum, make_column(options["eps"], lr), shrunk)
        for weight, gradient, state in zip(weights, gradients, states, strict=True):
            # One matrix a member, its columns as they lie in memory, as Muon itself views it.
            order = order_dimensions(weight, first=2)
            shape = *weight.shape[:2], -1
            rows = (weight if order is None else weight.permute(order)).view(shape)
            slopes = view_gradient(gradient, order).view(shape)
            count = count_members(weight, weight[0].numel())
            for low in range(0, len(weight), count):
                cut = slice(low, low + count)
                numbers = [None if one is None else one[cut] for one in columns.match(weight)]
                _step(rows[cut], slopes[cut], state["momentum_buffer"][cut], numbers, options)


def _step(
    weight: Tensor,
    gradient: Tensor,
    buffer: Tensor,
    numbers: list[Any],
    options: Mapping[str, Any],
) -> None:
    """Update matrices (members, outputs, rest)."""
    deep: list[Any] = [None if one is None else one.unsqueeze(2) for one in numbers]
    lr, share, momentum, eps, shrunk = deep
    lerp(buffer, gradient, share)
    if options["nesterov"]:
        lerp(gradient, buffer, momentum)
    update = _orthogonalise(
        gradient if options["nesterov"] else buffer, options["ns_coefficients"], options["ns_steps"], eps
    )
    if shrunk is not None:
        weight.mul_(shrunk)
    weight.addcmul_(update.to(weight.dtype), lr * -_scale(options["adjust_lr_fn"], *weight.shape[1:]))


def _orthogonalise(
    matrices: Tensor, coefficients: tuple[float, float, float], num_steps: int, eps: Tensor
) -> Tensor:
    """Return torch's quintic iteration of each matrix, in bfloat16 as there.

    Args:
        matrices: (members, rows, columns).
        coefficients: Of the first, third and fifth power.
        num_steps: Iterations.
        eps: (members, 1, 1), the least norm that is divided by.
    """
    current = matrices.bfloat16()
    squares = current.float().square_().reshape(len(current), -1)
    norms = sum_rows(squares).sqrt_().to(current.dtype).view(-1, 1, 1)
    current.div_(torch.maximum(norms, eps.to(norms.dtype)))
    is_tall = matrices.shape[1] > matrices.shape[2]
    if is_tall:
        current = current.mT
    # On a CPU one sum in 100,000 of a batched product rounds to another bfloat16 than that of a matrix alone.
    # In float64, where a member is to be what it would be by itself, each is therefore taken by itself.
    if matrices.dtype == torch.float64 and matrices.device.type == "cpu":
        found = torch.stack([_iterate(one, coefficients, num_steps, torch.addmm) for one in current])
    else:
        found = _iterate(current, coefficients, num_steps, torch.baddbmm)
    return found.mT if is_tall else found


def _iterate(
    current: Tensor,
    coefficients: tuple[float, float, float],
    num_steps: int,
    add_product: Callable[..., Tensor],
) -> Tensor:
    first, third, fifth = coefficients
    for _ in range(num_steps):
        gram = current @ current.mT
        mixed = add_product(gram, gram, gram, beta=third, alpha=fifth)
        current = add_product(current, mixed, current, beta=first)
    return current


def _scale(rule: str | None, num_rows: int, num_columns: int) -> float:
    """Return what torch multiplies a matrix's lr by."""
    if rule == "match_rms_adamw":
        return 0.2 * math.sqrt(max(num_rows, num_columns))
    return math.sqrt(max(1, num_rows / num_columns))


def _is_hidden(group: Mapping[str, Any]) -> bool:
    return bool(group["kind"] == "matrices")
