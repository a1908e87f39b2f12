"""Loss scaling for float16, whose small gradients would round to zero."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bench.errors import Unsupported


class Scaler:
    """Multiplies the loss before backward, divides the gradients, and leaves out updates that overflowed.

    A left-out step keeps its place: the next one has the next batch, dropout masks and lr, all of which go by
    the position in the run, so that runs in other formats stay comparable step by step. What the optimizer
    counts itself does not move.

    Source: Micikevicius et al. 2017 (arXiv 1710.03740), section 3.2, as torch.amp.GradScaler has it: from
    2**16, halved by each overflow, doubled after 2000 steps without one.

    Args:
        optimizer: Called without a closure, or not at all.
        device: Kind of its parameters' device.

    Raises:
        Unsupported: torch would leave scaling switched off here.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, device: str) -> None:
        if device == "cuda" and not torch.cuda.is_available():
            raise Unsupported("precision=fp16: torch has no loss scaler without a CUDA device")
        self._scaler = torch.amp.GradScaler(device)
        self._optimizer = optimizer
        # On the device: reading it at each step would make the host wait.
        self._num_skipped = torch.zeros((), device=device)

    def scale(self, loss: Tensor) -> Tensor:
        """Return the loss that backward starts from."""
        return self._scaler.scale(loss)

    def read_scale(self) -> Tensor:
        """Return a copy of the factor of the newest loss, still on the device."""
        scale: Tensor = self._scaler._scale.clone()  # type: ignore[union-attr]
        return scale

    def unscale(self) -> None:
        """Divide the gradients now, for who looks at them before the step."""
        self._scaler.unscale_(self._optimizer)

    def step(self) -> None:
        """Update the weights unless a gradient overflowed, and choose the next scale.

        A fused optimizer decides on the device. For any other torch reads the verdict on the host, which then
        waits for the device at every step.
        """
        self._scaler.step(self._optimizer)
        for is_overflown in self._scaler._found_inf_per_device(self._optimizer).values():
            self._num_skipped += is_overflown
        self._scaler.update()

    def count_skipped(self) -> int:
        """Return how many updates were left out so far; waits for the device."""
        return int(self._num_skipped.item())

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs to go on with the same scale; waits for the device."""
        return {"scaler": self._scaler.state_dict(), "num_skipped": self.count_skipped()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        self._scaler.load_state_dict(state["scaler"])
        self._num_skipped.fill_(state["num_skipped"])
