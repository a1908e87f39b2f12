"""An exponential moving average of a model's weights beside training, whichever optimizer trains it."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn


class Average:
    """A second copy of a model whose weights follow the trained ones slowly.

    Source: Polyak and Juditsky, 1992, in its exponential form; early updates use the smaller decay
    `(1 + t) / (10 + t)`, t counted from 1, so that the start is soon forgotten: the rule for `num_updates` in
    TensorFlow's documentation of ExponentialMovingAverage.
    Deviations: none. The average has the number format of the weights: below float32 one near 1 stands still.

    Args:
        model: Trained elsewhere, in place; nothing of it is ever changed or shared.
        decay: Share of the average that an update keeps, in [0, 1).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.num_updates = 0
        self._live = model
        self._module = copy.deepcopy(model).requires_grad_(False).eval()
        self._averaged: list[Tensor] = list(self._module.parameters())
        self._trained: list[Tensor] = list(model.parameters())

    @torch.no_grad()
    def update(self) -> None:
        """Move the average towards the weights as they are now; call it after each step. Nothing waits."""
        decay = self.advance()
        if self._averaged:
            torch._foreach_lerp_(self._averaged, self._trained, 1 - decay)

    def advance(self) -> float:
        """Count an update, and return the share of the average that it keeps."""
        self.num_updates += 1
        return min(self.decay, (1 + self.num_updates) / (10 + self.num_updates))

    @property
    def weights(self) -> dict[str, nn.Parameter]:
        """The averaged weights by name, for who updates those of many runs at once."""
        return dict(self._module.named_parameters())

    @property
    @torch.no_grad()
    def module(self) -> nn.Module:
        """The model at its averaged weights, in evaluation mode, with the live model's buffers as of now.

        Buffers are no weights: batch norm's running statistics are averages already.
        """
        for own, live in zip(self._module.buffers(), self._live.buffers(), strict=True):
            own.copy_(live)
        return self._module

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs to go on bit for bit; its tensors are the average's own."""
        return {"weights": dict(self._module.state_dict()), "num_updates": self.num_updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        self._module.load_state_dict(state["weights"])
        self.num_updates = state["num_updates"]
