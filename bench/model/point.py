"""A place and nothing else: the model of a closed-form function, which is trained by moving it."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from bench.kinds import Finite, NonNegative


class Point(nn.Module):
    """One trainable vector, given whatever the inputs are.

    Args:
        input_shape: Not asked for anything; there for the builder, like every model's.
        num_outputs: Coordinates.
        start_mean: Centre of the start, the same in every coordinate.
        start_sd: Standard deviation around it; 0 starts every seed at the centre.
    """

    input_kinds: ClassVar[tuple[str, ...]] = ("point",)

    def __init__(
        self, input_shape: tuple[int, ...], num_outputs: int, *, start_mean: Finite, start_sd: NonNegative
    ) -> None:
        super().__init__()
        self.place = nn.Parameter(start_mean + start_sd * torch.randn(num_outputs))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the place for each of `(batch, num_outputs)`: the same shape."""
        return self.place.expand(len(inputs), -1)
