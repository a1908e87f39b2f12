"""Adam and AdamW of many models at once, through torch's fused kernel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from bench.engine.stacked.fused import Directions, Setting, Settings
from bench.engine.stacked.layout import (
    Columns,
    advance,
    cut_rows,
    is_on,
    make_column,
    make_counter,
    order_dimensions,
    pack,
    view_gradient,
    view_rows,
)
from bench.engine.stacked.rule import State, is_plain


class StackedAdam:
    """As torch.optim.Adam and AdamW; the group says whether the decay is decoupled.

    The kernel knows one lr. So it steps zeros with lr 1, which makes the direction of each member, and that
    is added to the weights times the member's lr. Members whose betas or eps differ take a call each run of
    equal neighbours: the same kernel for all, whoever the companions are.
    """

    varying: ClassVar[frozenset[str]] = frozenset({"weight_decay", "betas", "eps"})

    def __init__(self) -> None:
        self._directions = Directions()
        self._settings = Settings()

    def can_stack(self, group: Mapping[str, Any]) -> bool:
        """See Rule."""
        return is_plain(group, self.varying | {"decoupled_weight_decay"})

    def make_state(self, weight: Tensor, group: Mapping[str, Any]) -> State:
        """See Rule."""
        return {
            "step": make_counter(weight, is_fused=bool(group.get("fused"))),
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
        if not weights:
            return
        advance([state["step"] for state in states])
        runs = self._settings.list_runs([*options["betas"], options["eps"]], len(lr))
        exact = make_column(lr, lr)
        added = shrunk = None
        if is_on(options["weight_decay"]):
            decay = make_column(options["weight_decay"], lr)
            if options["decoupled_weight_decay"]:
                shrunk = 1 - exact * decay
            else:
                added = decay
        columns = Columns(exact, added, shrunk)
        for lot in _group_by_dtype(weights):
            rows = [_list_rows(weights[at], gradients[at], states[at]) for at in lot]
            steps = [states[at]["step"] for at in lot]
            for places, low, high in pack([weights[at] for at in lot]):
                self._step(
                    [[cut_rows(one, low, high) for one in rows[place]] for place in places],
                    [steps[place] for place in places],
                    [None if one is None else cut_rows(one, low, high) for one in columns.match(rows[0][0])],
                    [(max(a, low) - low, min(b, high) - low, s) for a, b, s in runs if a < high and b > low],
                )

    def _step(
        self,
        rows: list[list[Tensor]],
        steps: list[Tensor],
        columns: list[Any],
        runs: list[tuple[int, int, Setting]],
    ) -> None:
        lr, added, shrunk = columns
        if added is not None:
            for weight, gradient, *_ in rows:
                gradient.addcmul_(weight, added)
        kinds = [[one[kind] for one in rows] for kind in (1, 2, 3)]
        directions = self._directions.compute(kinds, steps, runs)
        for (weight, *_), direction in zip(rows, directions, strict=True):
            if shrunk is not None:
                weight.mul_(shrunk)
            weight.addcmul_(direction, lr)


def _list_rows(weight: Tensor, gradient: Tensor, state: State) -> list[Tensor]:
    order = order_dimensions(weight)
    moments = [view_rows(state[name], order) for name in ("exp_avg", "exp_avg_sq")]
    return [view_rows(weight, order), view_gradient(gradient, order), *moments]


def _group_by_dtype(weights: Sequence[Tensor]) -> list[list[int]]:
    """Return positions of weights of one dtype: the kernel takes no mixture."""
    lots: dict[torch.dtype, list[int]] = {}
    for position, weight in enumerate(weights):
        lots.setdefault(weight.dtype, []).append(position)
    return list(lots.values())
