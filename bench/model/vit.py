"""A vision transformer: the same layers as a language model's, on images cut into patches."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from bench.errors import Unsupported
from bench.kinds import Count, Fraction, Positive
from bench.model.activation import Activation
from bench.model.dropout import drop
from bench.model.initialisation import Initialisation, initialise
from bench.model.transformer import Block


class Vit(nn.Module):
    """Patches mapped to tokens, learned positions, pre-norm transformer blocks, pooling and a linear head.

    Source: Dosovitskiy et al. 2020 (arXiv 2010.11929), eqs. 1 to 4; mean pooling as Beyer et al. 2022
    (arXiv 2205.01580). Deviations: queries, keys and values are one map; by default the layers' own first
    weights; positions start normal with standard deviation 0.02.

    Args:
        input_shape: `(channels, height, width)` of one image.
        num_outputs: Columns of the output.
        patch_size: Pixels across a patch.
        depth: Transformer blocks.
        width: Features of a token.
        heads: Attention heads.
        mlp_ratio: Hidden units of each block's perceptron over `width`.
        pooling: `mean` averages the patches; `class` reads a token of its own.
        activation: Of the perceptrons.
        dropout: Share set to zero while training, after the positions and in each part of a block.
        initialisation: How weights are drawn.

    Raises:
        Unsupported: Patches do not tile the image.
        ValueError: The heads do not share the width evenly.
    """

    input_kinds: ClassVar[tuple[str, ...]] = ("image",)

    def __init__(
        self,
        input_shape: tuple[int, ...],
        num_outputs: int,
        *,
        patch_size: Count,
        depth: Count,
        width: Count,
        heads: Count,
        mlp_ratio: Positive,
        pooling: Literal["mean", "class"],
        activation: Activation,
        dropout: Fraction,
        initialisation: Initialisation,
    ) -> None:
        super().__init__()
        num_channels, *size = input_shape
        if any(length % patch_size for length in size):
            raise Unsupported(f"model.patch_size: wants a divisor of {size} pixels, got {patch_size}")
        num_tokens = (size[0] // patch_size) * (size[1] // patch_size) + (pooling == "class")
        self.patches = nn.Conv2d(num_channels, width, patch_size, stride=patch_size)
        self.class_token = nn.Parameter(torch.zeros(width)) if pooling == "class" else None
        self.positions = nn.Parameter(0.02 * torch.randn(num_tokens, width))
        self.dropout = drop(dropout)
        self.blocks = nn.Sequential(
            *(
                Block(
                    width,
                    heads,
                    mlp_ratio,
                    is_causal=False,
                    has_bias=True,
                    activation=activation,
                    dropout=dropout,
                )
                for _ in range(depth)
            )
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, num_outputs)
        initialise(self, initialisation)

    def forward(self, images: Tensor) -> Tensor:
        """Map `(batch, channels, height, width)` to `(batch, num_outputs)`."""
        # (batch, width, rows, columns) to (batch, tokens, width)
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        if self.class_token is not None:
            tokens = torch.cat([self.class_token.expand(len(tokens), 1, -1), tokens], dim=1)
        tokens = self.norm(self.blocks(self.dropout(tokens + self.positions)))
        pooled = tokens.mean(dim=1) if self.class_token is None else tokens[:, 0]
        outputs: Tensor = self.head(pooled)
        return outputs
