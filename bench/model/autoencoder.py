"""A dense autoencoder: deep and narrow in the middle, where optimizers differ more than on classifiers."""

from __future__ import annotations

import math
from typing import ClassVar

from torch import Tensor, nn

from bench.kinds import Count, Fraction, Positive
from bench.model.activation import Activation
from bench.model.blocks import Blocks
from bench.model.initialisation import Initialisation, initialise
from bench.model.mlp import dense_blocks, hidden_widths


class Autoencoder(nn.Module):
    """Linear maps down to a code and, through the same widths, up again; activations between them.

    Source: Hinton and Salakhutdinov 2006 (Science 313, 504): the code and the outputs have no activation.
    Deviations: any activation, no pretraining.

    Args:
        input_shape: Shape of one input, without the batch.
        num_outputs: Columns of the output: as many as the input has numbers.
        depth: Hidden layers on each side of the code.
        width: Units of the outermost hidden layers.
        shrink: Units of each further layer towards the code over those of the one before.
        bottleneck: Units of the code.
        activation: After each hidden layer but the code.
        dropout: Share of those activations set to zero while training.
        initialisation: How weights are drawn.
    """

    input_kinds: ClassVar[tuple[str, ...]] = ("features", "image")

    def __init__(
        self,
        input_shape: tuple[int, ...],
        num_outputs: int,
        *,
        depth: Count,
        width: Count,
        shrink: Positive,
        bottleneck: Count,
        activation: Activation,
        dropout: Fraction,
        initialisation: Initialisation,
    ) -> None:
        super().__init__()
        widths = hidden_widths(depth, width, shrink)
        size = math.prod(input_shape)
        down = dense_blocks([size, *widths], activation, dropout)
        up = dense_blocks([bottleneck, *reversed(widths)], activation, dropout)
        self.encoder = Blocks(down, last=[nn.Linear(widths[-1], bottleneck)])
        self.decoder = Blocks(up, last=[nn.Linear(width, num_outputs)])
        initialise(self, initialisation)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map `(batch, *input_shape)` to logits `(batch, num_outputs)`."""
        outputs: Tensor = self.decoder(self.encoder(inputs.flatten(1)))
        return outputs
