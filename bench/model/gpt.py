"""A GPT: the language model whose training most optimizers are nowadays made for."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from bench.kinds import Count, Fraction, Positive
from bench.model.activation import Activation
from bench.model.dropout import drop
from bench.model.transformer import Block

# Standard deviation of the first weights.
_SD = 0.02


class Gpt(nn.Module):
    """Tokens and learned positions embedded, causal pre-norm transformer blocks, logits at every position.

    Source: Radford et al. 2019 (GPT-2), sections 2.2 and 2.3, after Radford et al. 2018. Deviations: GELU is
    exact where theirs is its tanh approximation; positions start with the same standard deviation as all
    else; there is no dropout on the attention weights.

    Args:
        input_shape: `(context,)`, the longest sequence.
        num_outputs: Size of the vocabulary.
        depth: Transformer blocks.
        width: Features of a token.
        heads: Attention heads.
        mlp_ratio: Hidden units of each block's perceptron over `width`.
        is_tied: Whether the head is the embedding, transposed.
        has_bias: Whether linear maps and norms have biases; the head has none.
        activation: Of the perceptrons.
        dropout: Share set to zero while training, after the embedding and in each part of a block.
        initialisation: `gpt2`: normal with standard deviation 0.02, divided by sqrt(2 * depth) where a map
            adds to the tokens, biases zero; `torch`: the layers' own.

    Raises:
        ValueError: The heads do not share the width evenly.
    """

    input_kinds: ClassVar[tuple[str, ...]] = ("tokens",)

    def __init__(
        self,
        input_shape: tuple[int, ...],
        num_outputs: int,
        *,
        depth: Count,
        width: Count,
        heads: Count,
        mlp_ratio: Positive,
        is_tied: bool,
        has_bias: bool,
        activation: Activation,
        dropout: Fraction,
        initialisation: Literal["gpt2", "torch"],
    ) -> None:
        super().__init__()
        (context,) = input_shape
        self.embedding = nn.Embedding(num_outputs, width)
        self.positions = nn.Embedding(context, width)
        self.dropout = drop(dropout)
        blocks = [
            Block(
                width,
                heads,
                mlp_ratio,
                is_causal=True,
                has_bias=has_bias,
                activation=activation,
                dropout=dropout,
            )
            for _ in range(depth)
        ]
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.LayerNorm(width, bias=has_bias)
        self.head = None if is_tied else nn.Linear(width, num_outputs, bias=False)
        if initialisation == "gpt2":
            self.apply(_draw)
            for block in blocks:
                for weight in block.residual_weights():
                    nn.init.normal_(weight, std=_SD / math.sqrt(2 * depth))

    def forward(self, tokens: Tensor) -> Tensor:
        """Map ids `(batch, length)`, at most `context` long, to logits `(batch, length, num_outputs)`."""
        embedded = self.embedding(tokens) + self.positions.weight[: tokens.shape[1]]
        features = self.norm(self.blocks(self.dropout(embedded)))
        head = self.embedding if self.head is None else self.head
        return F.linear(features, head.weight)


def _draw(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=_SD)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
