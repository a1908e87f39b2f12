"""A small convolutional network: shared weights make other gradients than an MLP's, on the same images."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from bench.errors import Unsupported
from bench.kinds import Count, Fraction
from bench.model.activation import Activation, activate
from bench.model.blocks import Blocks
from bench.model.initialisation import Initialisation, initialise


class Cnn(nn.Module):
    """Blocks of a convolution, halved in size and doubled in channels between them, then a dense layer.

    Args:
        input_shape: `(channels, height, width)` of one image.
        num_outputs: Columns of the output.
        depth: Convolution blocks.
        width: Channels of the first block.
        kernel_size: Pixels across a convolution; odd, so that it keeps the image's size.
        first_kernel_size: The same for the first block alone; None is `kernel_size`.
        is_last_pooled: Whether the image is halved once more before the dense layer.
        dense_width: Units of the dense layer; None is twice the last block's channels.
        activation: After each block and after the dense layer.
        dropout: Share of those activations set to zero while training.
        initialisation: How weights are drawn.

    Raises:
        Unsupported: The image is too small to be halved that often.
        ValueError: A kernel size is even.
    """

    input_kinds: ClassVar[tuple[str, ...]] = ("image",)

    def __init__(
        self,
        input_shape: tuple[int, ...],
        num_outputs: int,
        *,
        depth: Count,
        width: Count,
        kernel_size: Count,
        first_kernel_size: Count | None,
        is_last_pooled: bool,
        dense_width: Count | None,
        activation: Activation,
        dropout: Fraction,
        initialisation: Initialisation,
    ) -> None:
        super().__init__()
        num_channels, *size = input_shape
        deepest = min(size).bit_length() - is_last_pooled
        if depth > deepest:
            raise Unsupported(f"model.depth: wants at most {deepest} for {size} pixels, got {depth}")
        kernels = [first_kernel_size or kernel_size] + [kernel_size] * (depth - 1)
        for name, kernel in (("kernel_size", kernel_size), ("first_kernel_size", kernels[0])):
            if kernel % 2 == 0:
                raise ValueError(f"{name}: wants an odd number, got {kernel}")
        blocks: list[list[nn.Module]] = []
        for block, kernel in enumerate(kernels):
            convolution = nn.Conv2d(num_channels, width << block, kernel, padding=kernel // 2)
            blocks.append([convolution, *activate(activation, dropout)])
            num_channels = width << block
            if block < depth - 1 or is_last_pooled:
                blocks[-1].append(nn.MaxPool2d(2))
                size = [length // 2 for length in size]
        dense_width = dense_width or 2 * num_channels
        last = [nn.Flatten(), nn.Linear(num_channels * size[0] * size[1], dense_width)]
        last += activate(activation, dropout)
        self.layers = Blocks(blocks, last=[*last, nn.Linear(dense_width, num_outputs)])
        initialise(self, initialisation)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map `(batch, channels, height, width)` to `(batch, num_outputs)`."""
        outputs: Tensor = self.layers(inputs)
        return outputs
