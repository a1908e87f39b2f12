"""SGD of many models at once: plain, with momentum or Nesterov's, dampening and L2 decay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from bench.engine.stacked.layout import Columns, is_on, make_column, walk
from bench.engine.stacked.rule import State, is_plain


class StackedSGD:
    """As torch.optim.SGD; a member without momentum may stand among others that have it."""

    varying: ClassVar[frozenset[str]] = frozenset({"weight_decay", "momentum", "dampening"})

    def can_stack(self, group: Mapping[str, Any]) -> bool:
        """See Rule."""
        return is_plain(group, self.varying | {"nesterov"})

    def make_state(self, weight: Tensor, group: Mapping[str, Any]) -> State:
        """See Rule; the momentum starts as the first gradient, so there is none before it."""
        return {}

    def update(
        self,
        weights: Sequence[Tensor],
        gradients: Sequence[Tensor],
        states: Sequence[State],
        lr: Tensor,
        options: Mapping[str, Any],
    ) -> None:
        """See Rule."""
        momentum, dampening = options["momentum"], options.get("dampening", 0.0)
        column = make_column(momentum, lr) if is_on(momentum) else None
        kept = None
        if column is not None and is_on(dampening):
            # A member without momentum has no dampening either: torch leaves its gradient as it is.
            kept = torch.where(column == 0, 1.0, 1 - make_column(dampening, lr))
        decay = make_column(options["weight_decay"], lr) if is_on(options["weight_decay"]) else None
        columns = Columns(-make_column(lr, lr), column, kept, decay)
        for weight, gradient, state in zip(weights, gradients, states, strict=True):
            buffer = state.get("momentum_buffer") if column is not None else None
            is_first = column is not None and buffer is None
            if is_first:
                buffer = state["momentum_buffer"] = torch.empty_like(weight)
            for block in walk(weight, gradient, [] if buffer is None else [buffer], columns):
                _step(*block, is_first=is_first, is_nesterov=bool(options.get("nesterov")))


def _step(
    weight: Tensor,
    gradient: Tensor,
    kept: list[Tensor],
    columns: list[Any],
    *,
    is_first: bool,
    is_nesterov: bool,
) -> None:
    negative_lr, momentum, share, decay = columns
    if decay is not None:
        gradient.addcmul_(weight, decay)
    if momentum is not None:
        (buffer,) = kept
        if is_first:
            buffer.copy_(gradient)
        else:
            if share is not None:
                gradient.mul_(share)
            torch.addcmul(gradient, buffer, momentum, out=buffer)
        gradient = gradient.addcmul_(buffer, momentum) if is_nesterov else buffer
    weight.addcmul_(gradient, negative_lr)
