"""Adagrad of many models at once."""

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
    make_column,
    make_counter,
    read_position,
    walk,
)
from bench.engine.stacked.rule import State, is_plain


class StackedAdagrad:
    """As torch.optim.Adagrad."""

    varying: ClassVar[frozenset[str]] = frozenset({"weight_decay", "eps", "lr_decay"})

    def __init__(self) -> None:
        self._scratch = Scratch()

    def can_stack(self, group: Mapping[str, Any]) -> bool:
        """See Rule."""
        return is_plain(group, self.varying | {"initial_accumulator_value"})

    def make_state(self, weight: Tensor, group: Mapping[str, Any]) -> State:
        """See Rule."""
        return {
            "step": make_counter(weight, is_fused=bool(group.get("fused"))),
            "sum": torch.full_like(weight, group["initial_accumulator_value"]),
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
        negative_lr, eps = -make_column(lr, lr), make_column(options["eps"], lr)
        decay = make_column(options["weight_decay"], lr) if is_on(options["weight_decay"]) else None
        columns = Columns(negative_lr, eps, decay)
        for weight, gradient, state in zip(weights, gradients, states, strict=True):
            if is_on(options["lr_decay"]):
                position = read_position(state["step"])
                slower = 1 + (position - 1) * make_column(options["lr_decay"], lr)
                columns = Columns(negative_lr / slower, eps, decay)
            for block in walk(weight, gradient, [state["sum"]], columns):
                self._step(*block)

    def _step(self, weight: Tensor, gradient: Tensor, kept: list[Tensor], columns: list[Any]) -> None:
        negative_lr, eps, decay = columns
        if decay is not None:
            gradient.addcmul_(weight, decay)
        kept[0].addcmul_(gradient, gradient)
        scale = torch.sqrt(kept[0], out=self._scratch.take_like(weight)).add_(eps)
        weight.addcmul_(gradient.div_(scale), negative_lr)
