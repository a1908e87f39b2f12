"""A recurrent language model: gradients through time, on which plain SGD has beaten Adam."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.kinds import Count, Fraction
from bench.model.blocks import Blocks
from bench.model.dropout import drop
from bench.model.stacking import is_transformed


class Lstm(nn.Module):
    """Tokens embedded, a stack of LSTM layers from a zero state, a linear head at every position.

    Source: Hochreiter and Schmidhuber 1997, with the forget gates of Gers et al. 2000, as torch.nn.LSTM has
    it (two biases a gate). Dropout on what goes up and never on what goes on in time: Zaremba et al. 2014
    (arXiv 1409.2329), eq. 3.

    Args:
        input_shape: `(length,)`; other lengths work as well.
        num_outputs: Size of the vocabulary.
        depth: LSTM layers.
        width: Units of each.
        embedding_width: Features of a token.
        dropout: Share set to zero while training, before each layer and before the head.
    """

    input_kinds: ClassVar[tuple[str, ...]] = ("tokens",)

    def __init__(
        self,
        input_shape: tuple[int, ...],
        num_outputs: int,
        *,
        depth: Count,
        width: Count,
        embedding_width: Count,
        dropout: Fraction,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(num_outputs, embedding_width)
        sizes = [embedding_width] + [width] * depth
        self.layers = Blocks([_Layer(size, width, dropout)] for size in sizes[:-1])
        self.dropout = drop(dropout)
        self.head = nn.Linear(width, num_outputs)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map ids `(batch, length)` to logits `(batch, length, num_outputs)`."""
        features = self.layers(self.embedding(tokens))
        outputs: Tensor = self.head(self.dropout(features))
        return outputs


class _Layer(nn.LSTM):
    """One layer from a zero state, with the dropout before it; gives its outputs and not its last state."""

    def __init__(self, size: int, width: int, dropout: float) -> None:
        super().__init__(size, width, batch_first=True)
        self.before = drop(dropout)

    def forward(self, features: Tensor) -> Tensor:  # type: ignore[override]
        features = self.before(features)
        if is_transformed():
            return _recur(self, features)
        outputs: Tensor = super().forward(features)[0]
        return outputs


def _recur(layer: nn.Module, inputs: Tensor) -> Tensor:
    """Return one LSTM layer's outputs `(batch, length, width)`, by the equations of torch.nn.LSTM's page."""
    input_weight, state_weight, input_bias, state_bias = layer.parameters()
    # What comes from below, for all times at once: (batch, length, 4 * width)
    below = F.linear(inputs, input_weight, input_bias) + state_bias
    outputs: list[Tensor] = []
    cell = torch.zeros((), device=inputs.device)
    for gates in below.unbind(dim=1):
        if outputs:
            gates = gates + F.linear(outputs[-1], state_weight)
        enter, forget, new, leave = gates.chunk(4, dim=-1)
        cell = forget.sigmoid() * cell + enter.sigmoid() * new.tanh()
        outputs.append(leave.sigmoid() * cell.tanh())
    return torch.stack(outputs, dim=1)
