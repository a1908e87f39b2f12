"""NAdam of many models at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from bench.engine.stacked.layout import (
    Columns,
    Scratch,
    advance,
    is_on,
    lerp,
    make_column,
    make_counter,
    read_position,
    walk,
)
from bench.engine.stacked.rule import State, is_plain


class StackedNAdam:
    """As torch.optim.NAdam; betas and momentum_decay are shared, for their product over the steps is."""

    varying: ClassVar[frozenset[str]] = frozenset({"weight_decay", "eps"})

    def __init__(self) -> None:
        self._scratch = Scratch()

    def can_stack(self, group: Mapping[str, Any]) -> bool:
        """See Rule."""
        return is_plain(group, self.varying | {"betas", "momentum_decay", "decoupled_weight_decay"})

    def make_state(self, weight: Tensor, group: Mapping[str, Any]) -> State:
        """See Rule."""
        return {
            "step": make_counter(weight),
            "mu_product": make_counter(weight, 1.0),
            "exp_avg": torch.zeros_like(weight),
            "exp_avg_sq": torch.zeros_like(weight),
        }

    def update(
        self,
        weights: Sequence[Tensor],
        gradients: Sequence[Tensor],
        states: Sequence[State],
        lr: Tensor,
        options: Mapping[str, Any],
    ) -> None:
        """See Rule."""
        advance([state["step"] for state in states])
        known: dict[tuple[float | Tensor, float | Tensor], Columns] = {}
        for weight, gradient, state in zip(weights, gradients, states, strict=True):
            position = read_position(state["step"])
            state["mu_product"].mul_(_work_out_momentum(position, options))
            # Nearly always the same for all weights.
            key = position, read_position(state["mu_product"])
            if key not in known:
                known[key] = _work_out(*key, lr, options)
            columns = known[key]
            for block in walk(weight, gradient, [state["exp_avg"], state["exp_avg_sq"]], columns):
                self._step(*block)

    def _step(self, weight: Tensor, gradient: Tensor, kept: list[Tensor], columns: list[Any]) -> None:
        size, share, first, second, eps, added, shrunk = columns
        if added is not None:
            gradient.addcmul_(weight, added)
        if shrunk is not None:
            weight.mul_(shrunk)
        lerp(kept[0], gradient, first)
        scale = torch.mul(gradient, gradient, out=self._scratch.take_like(weight))
        lerp(kept[1], scale, second)
        torch.sqrt(kept[1], out=scale).add_(eps)
        # The gradient's share is in `size`, which multiplies both.
        weight.addcmul_(gradient.addcmul_(kept[0], share).div_(scale), size)


def _work_out_momentum(position: float | Tensor, options: Mapping[str, Any]) -> float | Tensor:
    """Return the momentum of an update, the first of which has position 1."""
    momentum: float | Tensor = options["betas"][0] * (
        1.0 - 0.5 * 0.96 ** (position * options["momentum_decay"])
    )
    return momentum


def _work_out(
    position: float | Tensor, product: float | Tensor, lr: Tensor, options: Mapping[str, Any]
) -> Columns:
    """Return the numbers of an update.

    With c1 and c2 the factors of gradient and momentum, and r the root of the second moment's correction, the
    update `lr (c1 g + c2 m) / (sqrt(v) / r + eps)` is `lr c1 r (g + c2 / c1 m) / (sqrt(v) + eps r)`.

    Args:
        position: Of the update, from 1.
        product: Of the momenta up to this update's.
        lr: (num_members,).
        options: Of the group.
    """
    beta1, beta2 = options["betas"]
    mu, following = (_work_out_momentum(one, options) for one in (position, position + 1))
    root = (1 - beta2**position) ** 0.5
    of_gradient = (1.0 - mu) / (1.0 - product)
    of_momentum = following / (1.0 - product * following)
    exact = make_column(lr, lr)
    added = shrunk = None
    if is_on(options["weight_decay"]):
        weight_decay = make_column(options["weight_decay"], lr)
        if options["decoupled_weight_decay"]:
            shrunk = 1 - exact * weight_decay
        else:
            added = weight_decay
    return Columns(
        exact * (-of_gradient * root),
        make_column(of_momentum / of_gradient, lr),
        make_column(1 - beta1, lr),
        make_column(1 - beta2, lr),
        make_column(options["eps"], lr) * root,
        added,
        shrunk,
    )
