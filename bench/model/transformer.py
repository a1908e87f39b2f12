"""The layer that the vision transformer and the GPT are stacks of."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from bench.model.activation import Activation, activate
from bench.model.batched import Attention
from bench.model.dropout import drop
from bench.model.stacking import is_transformed


class Block(nn.Module):
    """Attention, then a perceptron with one hidden layer; each normalises its input and is added to it.

    Source: Vaswani et al. 2017 (arXiv 1706.03762), eq. 1; the norm before each part as Radford et al. 2019
    (GPT-2) and Dosovitskiy et al. 2020 (arXiv 2010.11929). Deviation: no dropout on the attention weights,
    which the fused kernels do not return; it stands where each part is added.

    Args:
        width: Features of a token.
        heads: Attention heads, of `width / heads` features each.
        mlp_ratio: Hidden units of the perceptron over `width`.
        is_causal: Whether a token sees only itself and those before it.
        has_bias: Whether linear maps and norms have biases.
        activation: Of the perceptron.
        dropout: Share of what is added that is set to zero while training.

    Raises:
        ValueError: The heads do not share the width evenly.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        mlp_ratio: float,
        *,
        is_causal: bool,
        has_bias: bool,
        activation: Activation,
        dropout: float,
    ) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"heads: wants a divisor of width {width}, got {heads}")
        self.heads = heads
        self.is_causal = is_causal
        hidden = max(1, round(mlp_ratio * width))
        self.attention_norm = nn.LayerNorm(width, bias=has_bias)
        # Queries, keys and values in one map.
        self.qkv = nn.Linear(width, 3 * width, bias=has_bias)
        self.projection = nn.Linear(width, width, bias=has_bias)
        self.attention_dropout = drop(dropout)
        self.mlp_norm = nn.LayerNorm(width, bias=has_bias)
        self.mlp = nn.Sequential(
            nn.Linear(width, hidden, bias=has_bias),
            *activate(activation, 0.0),
            nn.Linear(hidden, width, bias=has_bias),
        )
        self.mlp_dropout = drop(dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map `(batch, length, width)` to the same shape."""
        tokens = tokens + self.attention_dropout(self._attend(self.attention_norm(tokens)))
        outputs: Tensor = tokens + self.mlp_dropout(self.mlp(self.mlp_norm(tokens)))
        return outputs

    def residual_weights(self) -> list[Tensor]:
        """Return the weights of the two maps whose outputs are added to the tokens."""
        last = self.mlp[-1]
        assert isinstance(last, nn.Linear)
        return [self.projection.weight, last.weight]

    def _attend(self, tokens: Tensor) -> Tensor:
        # (batch, length, 3 * width) to three of (batch, heads, length, width / heads)
        parts = self.qkv(tokens).unflatten(-1, (3, self.heads, -1)).transpose(1, 3).unbind(2)
        mixed = attend(*parts, is_causal=self.is_causal)
        outputs: Tensor = self.projection(mixed.transpose(1, 2).flatten(2))
        return outputs


def attend(queries: Tensor, keys: Tensor, values: Tensor, *, is_causal: bool) -> Tensor:
    """Return scaled dot-product attention, by torch's fused kernels.

    Args:
        queries: `(batch, heads, length, features)`, like keys and values.
        keys: What queries are compared with.
        values: What is mixed.
        is_causal: Whether a query sees only keys up to its own place.

    Returns:
        `(batch, heads, length, features)`.
    """
    if not is_transformed():
        return F.scaled_dot_product_attention(queries, keys, values, is_causal=is_causal)
    mixed: Tensor = Attention.apply(queries, keys, values, is_causal)  # type: ignore[no-untyped-call]
    return mixed
