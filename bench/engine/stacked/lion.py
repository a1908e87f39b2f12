"""Lion of many models at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from bench.engine.stacked.layout import Columns, Scratch, is_on, lerp, make_column, walk
from bench.engine.stacked.rule import State, is_plain


class StackedLion:
    """As bench.optimizer.lion.Lion."""

    varying: ClassVar[frozenset[str]] = frozenset({"weight_decay", "betas"})

    def __init__(self) -> None:
        self._scratch = Scratch()

    def can_stack(self, group: Mapping[str, Any]) -> bool:
        """See Rule."""
        return is_plain(group, self.varying)

    def make_state(self, weight: Tensor, group: Mapping[str, Any]) -> State:
        """See Rule."""
        return {"exp_avg": torch.zeros_like(weight)}

    def update(
        self,
        weights: Sequence[Tensor],
        gradients: Sequence[Tensor],
        states: Sequence[State],
        lr: Tensor,
        options: Mapping[str, Any],
    ) -> None:
        """See Rule."""
        exact = make_column(lr, lr)
        decay = options["weight_decay"]
        columns = Columns(
            -exact,
            *(1 - make_column(beta, lr) for beta in options["betas"]),
            1 - exact * make_column(decay, lr) if is_on(decay) else None,
        )
        for weight, gradient, state in zip(weights, gradients, states, strict=True):
            for block in walk(weight, gradient, [state["exp_avg"]], columns):
                self._step(*block)

    def _step(self, weight: Tensor, gradient: Tensor, kept: list[Tensor], columns: list[Any]) -> None:
        negative_lr, signed, stays, shrunk = columns
        direction = self._scratch.take_like(weight).copy_(kept[0])
        lerp(direction, gradient, signed)
        if shrunk is not None:
            weight.mul_(shrunk)
        weight.addcmul_(direction.sign_(), negative_lr)
        lerp(kept[0], gradient, stays)
