"""A small denoiser: the regression that diffusion models train on, whose targets are mostly noise."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from bench.kinds import Count, Fraction
from bench.model.activation import Activation, activate
from bench.model.blocks import Blocks
from bench.model.dropout import drop
from bench.model.initialisation import Initialisation, initialise

# Times in (0, 1] are read as steps of Ho et al.'s chain, which has this many.
_NUM_STEPS = 1000
# The longest period of a sine over the shortest, as Vaswani et al. 2017 (arXiv 1706.03762), section 3.5.
_PERIODS = 10_000


class Denoiser(nn.Module):
    """Residual blocks on a noised image flattened to a vector, each told the time; predicts the noise.

    Source: Ho et al. 2020 (arXiv 2006.11239), section 3.2 and appendix B. Deviation: dense blocks in place of
    a U-Net, which is enough for digits of 8 x 8.

    Args:
        input_shape: `(channels, height, width)` of one image.
        num_outputs: Columns of the output: as many as an image has numbers.
        depth: Residual blocks, of two linear maps each.
        width: Features between them.
        time_width: Sines and cosines that the time is written in; even.
        activation: Before each second map, and on the time.
        dropout: Share of each block's hidden activations set to zero while training.
        initialisation: How weights are drawn.

    Raises:
        ValueError: The number of sines and cosines is odd.
    """

    input_kinds: ClassVar[tuple[str, ...]] = ("noised",)
    frequencies: Tensor

    def __init__(
        self,
        input_shape: tuple[int, ...],
        num_outputs: int,
        *,
        depth: Count,
        width: Count,
        time_width: Count,
        activation: Activation,
        dropout: Fraction,
        initialisation: Initialisation,
    ) -> None:
        super().__init__()
        if time_width % 2:
            raise ValueError(f"time_width: wants an even number, got {time_width}")
        exponents = torch.arange(time_width // 2) / (time_width // 2)
        # Made again from the keys, so it is no part of what is stored.
        self.register_buffer("frequencies", _NUM_STEPS * _PERIODS**-exponents, persistent=False)
        self.read_image = nn.Linear(math.prod(input_shape), width)
        self.read_time = nn.Sequential(nn.Linear(time_width, width), *activate(activation, 0.0))
        self.blocks = Blocks([_Residual(width, activation, dropout)] for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, num_outputs)
        initialise(self, initialisation)

    def forward(self, image: Tensor, time: Tensor) -> Tensor:
        """Return the noise in each image.

        Args:
            image: Noised, `(batch, channels, height, width)`.
            time: How much of it is noise, `(batch,)`, in (0, 1].

        Returns:
            `(batch, num_outputs)`.
        """
        phases = time.unsqueeze(-1) * self.frequencies
        clock = self.read_time(torch.cat([phases.sin(), phases.cos()], dim=-1))
        features = self.blocks(self.read_image(image.flatten(1)), clock)
        outputs: Tensor = self.head(self.norm(features))
        return outputs


class _Residual(nn.Module):
    def __init__(self, width: int, activation: Activation, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.first = nn.Linear(width, width)
        self.second = nn.Sequential(*activate(activation, 0.0), drop(dropout), nn.Linear(width, width))

    def forward(self, features: Tensor, clock: Tensor) -> Tensor:
        # Both (batch, width); the time is added in every block, as theirs does.
        outputs: Tensor = features + self.second(self.first(self.norm(features)) + clock)
        return outputs
