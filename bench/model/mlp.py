"""The multilayer perceptron: the plainest model that trains on every built-in data set."""

from __future__ import annotations

import itertools
import math
from typing import Annotated, ClassVar

from msgspec import Meta
from torch import Tensor, nn

from bench.kinds import Count, Fraction, Positive
from bench.model.activation import Activation, activate
from bench.model.blocks import Blocks
from bench.model.initialisation import Initialisation, initialise


class Mlp(nn.Module):
    """Linear maps with an activation between them, on inputs flattened to a vector.

    Args:
        input_shape: Shape of one input, without the batch.
        num_outputs: Columns of the output.
        depth: Hidden layers; 0 is a linear model.
        width: Units of the first hidden layer.
        shrink: Units of each further hidden layer over those of the one before.
        activation: After each hidden layer.
        dropout: Share of each hidden layer's activations set to zero while training.
        initialisation: How weights are drawn.
    """

    input_kinds: ClassVar[tuple[str, ...]] = ("features", "image")

    def __init__(
        self,
        input_shape: tuple[int, ...],
        num_outputs: int,
        *,
        depth: Annotated[int, Meta(ge=0)],
        width: Count,
        shrink: Positive,
        activation: Activation,
        dropout: Fraction,
        initialisation: Initialisation,
    ) -> None:
        super().__init__()
        sizes = [math.prod(input_shape), *hidden_widths(depth, width, shrink)]
        blocks = dense_blocks(sizes, activation, dropout)
        self.layers = Blocks(blocks, last=[nn.Linear(sizes[-1], num_outputs)])
        initialise(self, initialisation)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map `(batch, *input_shape)` to `(batch, num_outputs)`."""
        outputs: Tensor = self.layers(inputs.flatten(1))
        return outputs


def hidden_widths(depth: int, width: int, shrink: float) -> list[int]:
    """Return the units of each hidden layer: `width * shrink**k`, rounded, and at least one."""
    return [max(1, round(width * shrink**layer)) for layer in range(depth)]


def dense_blocks(sizes: list[int], activation: Activation, dropout: float) -> list[list[nn.Module]]:
    """Return a linear map with what follows it, for each pair of sizes in a row."""
    return [
        [nn.Linear(size, hidden), *activate(activation, dropout)]
        for size, hidden in itertools.pairwise(sizes)
    ]
