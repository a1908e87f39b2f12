"""RMSprop of many models at once, centred or not, with or without momentum."""

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
    walk,
)
from bench.engine.stacked.rule import State, is_plain


class StackedRMSprop:
    """As torch.optim.RMSprop; a member without momentum may stand among others that have it."""

    varying: ClassVar[frozenset[str]] = frozenset({"weight_decay", "alpha", "eps", "momentum"})

    def __init__(self) -> None:
        self._scratch = Scratch()

    def can_stack(self, group: Mapping[str, Any]) -> bool:
        """See Rule."""
        return is_plain(group, self.varying | {"centered"})

    def make_state(self, weight: Tensor, group: Mapping[str, Any]) -> State:
        """See Rule."""
        state = {"step": make_counter(weight), "square_avg": torch.zeros_like(weight)}
        if is_on(group["momentum"]):
            state["momentum_buffer"] = torch.zeros_like(weight)
        if group["centered"]:
            state["grad_avg"] = torch.zeros_like(weight)
        return state

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
        has_momentum = is_on(options["momentum"])
        columns = Columns(
            -make_column(lr, lr),
            1 - make_column(options["alpha"], lr),
            make_column(options["eps"], lr),
            make_column(options["momentum"], lr) if has_momentum else None,
            make_column(options["weight_decay"], lr) if is_on(options["weight_decay"]) else None,
        )
        for weight, gradient, state in zip(weights, gradients, states, strict=True):
            if has_momentum and "momentum_buffer" not in state:
                # Made by a member without momentum, whose buffer does nothing.
                state["momentum_buffer"] = torch.zeros_like(weight)
            names = ["square_avg", *["grad_avg"] * options["centered"], *["momentum_buffer"] * has_momentum]
            for block in walk(weight, gradient, [state[name] for name in names], columns):
                self._step(*block, is_centered=options["centered"])

    def _step(
        self,
        weight: Tensor,
        gradient: Tensor,
        kept: list[Tensor],
        columns: list[Any],
        *,
        is_centered: bool,
    ) -> None:
        negative_lr, share, eps, momentum, decay = columns
        if decay is not None:
            gradient.addcmul_(weight, decay)
        scale = torch.mul(gradient, gradient, out=self._scratch.take_like(weight))
        lerp(kept[0], scale, share)
        if is_centered:
            lerp(kept[1], gradient, share)
            torch.addcmul(kept[0], kept[1], kept[1], value=-1, out=scale).sqrt_()
        else:
            torch.sqrt(kept[0], out=scale)
        gradient.div_(scale.add_(eps))
        if momentum is not None:
            gradient = torch.addcmul(gradient, kept[-1], momentum, out=kept[-1])
        weight.addcmul_(gradient, negative_lr)
