"""Adafactor of many models at once, with each member's own means, norms and clipping."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from bench.engine.stacked.layout import (
    Columns,
    Scratch,
    advance,
    count_members,
    is_on,
    lerp,
    make_column,
    make_counter,
    order_dimensions,
    read_position,
    sum_rows,
    view_rows,
)
from bench.engine.stacked.rule import State, is_plain


class StackedAdafactor:
    """As torch.optim.Adafactor: the last two dimensions of a member's weight are factored."""

    varying: ClassVar[frozenset[str]] = frozenset({"weight_decay", "d"})

    def __init__(self) -> None:
        self._scratch = Scratch()

    def can_stack(self, group: Mapping[str, Any]) -> bool:
        """See Rule."""
        return is_plain(group, self.varying | {"beta2_decay", "eps"})

    def make_state(self, weight: Tensor, group: Mapping[str, Any]) -> State:
        """See Rule."""
        step = make_counter(weight)
        if weight.ndim <= 2:
            return {"step": step, "variance": torch.zeros_like(weight)}
        *front, rows, columns = weight.shape
        return {
            "step": step,
            "row_var": weight.new_zeros(*front, rows, 1),
            "col_var": weight.new_zeros(*front, 1, columns),
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
        exact, most = make_column(lr, lr), make_column(options["d"], lr)
        shrunk = None
        if is_on(options["weight_decay"]):
            shrunk = 1 - exact * make_column(options["weight_decay"], lr)
        for weight, gradient, state in zip(weights, gradients, states, strict=True):
            position = read_position(state["step"])
            numbers = [
                # No more than 1 / sqrt(step).
                torch.minimum(exact, make_column(position**-0.5, lr)),
                make_column(position ** options["beta2_decay"], lr),
                most,
                shrunk,
            ]
            moments = [state[name] for name in ("variance", "row_var", "col_var") if name in state]
            count = count_members(weight, weight[0].numel())
            for low in range(0, len(weight), count):
                cut = slice(low, low + count)
                self._step(
                    weight[cut],
                    gradient[cut],
                    [one[cut] for one in moments],
                    [None if one is None else one[cut] for one in numbers],
                    options["eps"],
                )

    def _step(
        self,
        weight: Tensor,
        gradient: Tensor,
        kept: list[Tensor],
        numbers: list[Any],
        eps: tuple[float | None, float],
    ) -> None:
        size, share, most, shrunk = numbers
        least = torch.finfo(weight.dtype).eps if eps[0] is None else eps[0]
        order = order_dimensions(weight)
        rows = view_rows(weight, order)
        root = rows.shape[1] ** 0.5
        memory, squares = self._scratch.take(rows, 2 * rows.numel()).view(2, *rows.shape)
        size = size * (_measure(rows, squares, size) / root).clamp_(min=eps[1])
        columns = Columns(shrunk).match(weight)
        if columns[0] is not None:
            rows.mul_(columns[0])
        # In the weight's own order of dimensions, whichever that is.
        update = memory.view(weight.shape) if order is None else torch.empty_like(weight)
        _estimate(update, gradient, kept, share, least)
        update.clamp_(min=least * least).rsqrt_().mul_(gradient)
        flat = view_rows(update, order)
        excess = (_measure(flat, squares, size) / (root * most)).clamp_(min=1.0)
        factors: list[Any] = Columns(-size / excess).match(weight)
        rows.addcmul_(flat, factors[0])


def _measure(rows: Tensor, squares: Tensor, like: Tensor) -> Tensor:
    """Return each row's norm as a column, through squares: torch is faster at sums than at norms."""
    return sum_rows(torch.mul(rows, rows, out=squares)).to(like.dtype).sqrt_().unsqueeze(1)


def _estimate(update: Tensor, gradient: Tensor, kept: list[Tensor], share: Tensor, least: float) -> None:
    """Move the second moments on, and write the estimate that they make into `update`."""
    (column,) = Columns(share).match(gradient)
    assert column is not None
    weight = column.view(-1, *[1] * (gradient.ndim - 1))
    torch.mul(gradient, gradient, out=update)
    if len(kept) == 1:
        lerp(kept[0], update, weight)
        update.copy_(kept[0])
        return
    rows, columns = kept
    for moment, dimension in ((rows, -1), (columns, -2)):
        lerp(moment, update.mean(dim=dimension, keepdim=True), weight)
    torch.mul(rows / rows.mean(dim=-2, keepdim=True).clamp_(min=least), columns, out=update)
