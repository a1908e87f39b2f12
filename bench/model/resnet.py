"""Residual networks: what optimizers for images are most often measured on."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from torch import Tensor, nn

from bench.kinds import Count, Fraction
from bench.model.activation import Activation, activate
from bench.model.dropout import drop
from bench.model.initialisation import Initialisation, initialise

Norm = Literal["batch", "group"]

# Residual blocks in each of the four stages, and output channels of a block over its inner ones.
_STAGES: dict[int, tuple[tuple[int, int, int, int], int]] = {
    18: ((2, 2, 2, 2), 1),
    34: ((3, 4, 6, 3), 1),
    50: ((3, 4, 6, 3), 4),
}


class Resnet(nn.Module):
    """A first convolution, four stages of residual blocks, the mean over pixels, a linear head.

    Source: He et al. 2015 (arXiv 1512.03385), table 1 and figure 5; shortcuts that change shape are
    projections (option B). Deviations: depth 50 halves in its 3 x 3 convolutions, as Goyal et al. 2017 (arXiv
    1706.02677); the small stem is one 3 x 3 convolution without pooling, for images up to 64 pixels.

    Batch norm writes running statistics into its buffers while training: a step is then no function of the
    weights alone. Members stack only where their buffers are stacked too, and kept; with group norm, always.

    Args:
        input_shape: `(channels, height, width)` of one image.
        num_outputs: Columns of the output.
        depth: Which of the paper's networks: 18, 34 or 50.
        width: Channels of the first stage; each stage doubles them.
        stem: `small`, or `imagenet`: 7 x 7 with stride 2, then a maximum over 3 x 3 with stride 2.
        norm: `batch`, or `group`: Wu and He 2018 (arXiv 1803.08494), 32 groups where that leaves each at
            least two channels, else fewer.
        activation: After each norm, but the last of a block, and after each sum.
        dropout: Share of the pooled features set to zero while training.
        initialisation: How weights are drawn.
    """

    input_kinds: ClassVar[tuple[str, ...]] = ("image",)

    def __init__(
        self,
        input_shape: tuple[int, ...],
        num_outputs: int,
        *,
        depth: Literal[18, 34, 50],
        width: Count,
        stem: Literal["small", "imagenet"],
        norm: Norm,
        activation: Activation,
        dropout: Fraction,
        initialisation: Initialisation,
    ) -> None:
        super().__init__()
        stages, expansion = _STAGES[depth]
        if stem == "small":
            self.stem = nn.Sequential(
                *_convolve(input_shape[0], width, 3, 1, norm), *activate(activation, 0.0)
            )
        else:
            first = _convolve(input_shape[0], width, 7, 2, norm)
            self.stem = nn.Sequential(*first, *activate(activation, 0.0), nn.MaxPool2d(3, 2, padding=1))
        blocks: list[nn.Module] = []
        num_channels = width
        for stage, num_blocks in enumerate(stages):
            inner = width << stage
            for block in range(num_blocks):
                stride = 2 if stage > 0 and block == 0 else 1
                blocks.append(_Residual(num_channels, inner, inner * expansion, stride, norm, activation))
                num_channels = inner * expansion
        self.blocks = nn.Sequential(*blocks)
        self.dropout = drop(dropout)
        self.head = nn.Linear(num_channels, num_outputs)
        initialise(self, initialisation)

    def forward(self, images: Tensor) -> Tensor:
        """Map `(batch, channels, height, width)` to `(batch, num_outputs)`."""
        features = self.blocks(self.stem(images)).mean(dim=(2, 3))
        outputs: Tensor = self.head(self.dropout(features))
        return outputs


class _Residual(nn.Module):
    """Two 3 x 3 convolutions, or three where the middle one is narrower; added to a shortcut."""

    def __init__(
        self, num_inputs: int, inner: int, num_outputs: int, stride: int, norm: Norm, activation: Activation
    ) -> None:
        super().__init__()
        if inner == num_outputs:
            layers = [
                *_convolve(num_inputs, inner, 3, stride, norm),
                *activate(activation, 0.0),
                *_convolve(inner, num_outputs, 3, 1, norm),
            ]
        else:
            layers = [
                *_convolve(num_inputs, inner, 1, 1, norm),
                *activate(activation, 0.0),
                *_convolve(inner, inner, 3, stride, norm),
                *activate(activation, 0.0),
                *_convolve(inner, num_outputs, 1, 1, norm),
            ]
        self.residual = nn.Sequential(*layers)
        is_reshaped = stride != 1 or num_inputs != num_outputs
        self.shortcut = nn.Sequential(
            *(_convolve(num_inputs, num_outputs, 1, stride, norm) if is_reshaped else ())
        )
        (self.activation,) = activate(activation, 0.0)

    def forward(self, images: Tensor) -> Tensor:
        outputs: Tensor = self.activation(self.residual(images) + self.shortcut(images))
        return outputs


def _convolve(num_inputs: int, num_outputs: int, kernel: int, stride: int, norm: Norm) -> list[nn.Module]:
    """Return a convolution that keeps the size but for its stride, and the norm after it."""
    convolution = nn.Conv2d(num_inputs, num_outputs, kernel, stride, padding=kernel // 2, bias=False)
    if norm == "batch":
        return [convolution, nn.BatchNorm2d(num_outputs)]
    # A group of one channel at one pixel would always be zero.
    num_groups = max(1, math.gcd(64, num_outputs) // 2)
    return [convolution, nn.GroupNorm(num_groups, num_outputs)]
