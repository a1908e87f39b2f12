"""The multilayer perceptron: the plainest model that trains on every built-in data set."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

from msgspec import Meta
from torch import Tensor, nn

from bench.kinds import Count, Fraction
from bench.model.activation import Activation, activate


class Mlp(nn.Module):
    """Linear maps with an activation between them, on inputs flattened to a vector.

    Args:
        input_shape: Shape of one input, without the batch.
        num_outputs: Columns of the output.
        depth: Hidden layers; 0 is a linear model.
        width: Units of each hidden layer.
        activation: After each hidden layer.
        dropout: Share of each hidden layer's activations set to zero while training.
    """

    input_kinds: ClassVar[tuple[str, ...]] = ("features", "image")

    def __init__(
        self,
        input_shape: tuple[int, ...],
        num_outputs: int,
        *,
        depth: Annotated[int, Meta(ge=0)],
        width: Count,
        activation: Activation,
        dropout: Fraction,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        size = math.prod(input_shape)
        for _ in range(depth):
            layers += [nn.Linear(size, width), *activate(activation, dropout)]
            size = width
        self.layers = nn.Sequential(*layers, nn.Linear(size, num_outputs))

    def forward(self, inputs: Tensor) -> Tensor:
        """Map `(batch, *input_shape)` to `(batch, num_outputs)`."""
        outputs: Tensor = self.layers(inputs.flatten(1))
        return outputs
