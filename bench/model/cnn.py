"""A small convolutional network: shared weights make other gradients than an MLP's, on the same images."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from bench.errors import Unsupported
from bench.kinds import Count, Fraction
from bench.model.activation import Activation, activate


class Cnn(nn.Module):
    """Blocks of a 3 x 3 convolution, halved in size and doubled in channels between them, then a dense layer.

    Args:
        input_shape: `(channels, height, width)` of one image.
        num_outputs: Columns of the output.
        depth: Convolution blocks.
        width: Channels of the first block; the dense layer has twice the last block's.
        activation: After each block and after the dense layer.
        dropout: Share of those activations set to zero while training.

    Raises:
        Unsupported: The image is too small to be halved that often.
    """

    input_kinds: ClassVar[tuple[str, ...]] = ("image",)

    def __init__(
        self,
        input_shape: tuple[int, ...],
        num_outputs: int,
        *,
        depth: Count,
        width: Count,
        activation: Activation,
        dropout: Fraction,
    ) -> None:
        super().__init__()
        num_channels, *size = input_shape
        deepest = min(size).bit_length()
        if depth > deepest:
            raise Unsupported(f"model.depth: wants at most {deepest} for {size} pixels, got {depth}")
        layers: list[nn.Module] = []
        for block in range(depth):
            if block > 0:
                layers.append(nn.MaxPool2d(2))
                size = [length // 2 for length in size]
            layers += [nn.Conv2d(num_channels, width << block, 3, padding=1), *activate(activation, dropout)]
            num_channels = width << block
        layers += [nn.Flatten(), nn.Linear(num_channels * size[0] * size[1], 2 * num_channels)]
        layers += activate(activation, dropout)
        self.layers = nn.Sequential(*layers, nn.Linear(2 * num_channels, num_outputs))

    def forward(self, inputs: Tensor) -> Tensor:
        """Map `(batch, channels, height, width)` to `(batch, num_outputs)`."""
        outputs: Tensor = self.layers(inputs)
        return outputs
