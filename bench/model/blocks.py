"""A sequence of layers that says which of them belong together, so that parts of it can be recomputed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from torch import nn


class Blocks(nn.Sequential):
    """Blocks of layers one after the other, and perhaps more layers after the last block.

    Layers are numbered through, as in the nn.Sequential it is: blocks give no names to weights.

    Args:
        blocks: The layers of each, in order.
        last: Layers after them that belong to no block, such as a head.
    """

    def __init__(self, blocks: Iterable[Sequence[nn.Module]], last: Sequence[nn.Module] = ()) -> None:
        blocks = list(blocks)
        super().__init__(*(layer for block in blocks for layer in block), *last)
        # Layers of each block.
        self.sizes = tuple(len(block) for block in blocks)

    def forward(self, features: Any, *others: Any) -> Any:
        """Return the features after all layers, each of which gets the other arguments unchanged."""
        for layer in self:
            features = layer(features, *others)
        return features
