"""The CNN has the blocks it says, and refuses images that can't be halved that often."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bench.errors import Unsupported
from bench.model.cnn import Cnn
from bench.model.dropout import Dropout


def make(input_shape: tuple[int, ...] = (1, 8, 8), depth: int = 2, dropout: float = 0.0) -> Cnn:
    return Cnn(input_shape, 10, depth=depth, width=4, activation="relu", dropout=dropout)


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_blocks_double_the_channels_and_halve_the_image(depth: int) -> None:
    model = make(depth=depth)
    convolutions = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    assert [layer.out_channels for layer in convolutions] == [4 * 2**block for block in range(depth)]
    dense = next(layer for layer in model.modules() if isinstance(layer, nn.Linear))
    side = 8 // 2 ** (depth - 1)
    assert dense.in_features == convolutions[-1].out_channels * side * side
    assert model(torch.randn(5, 1, 8, 8)).shape == (5, 10)


def test_odd_and_oblong_images_fit() -> None:
    assert make((3, 7, 13), depth=3)(torch.randn(2, 3, 7, 13)).shape == (2, 10)


@pytest.mark.parametrize(("size", "deepest"), [((8, 8), 4), ((7, 30), 3), ((1, 5), 1)])
def test_too_many_halvings_are_a_row_that_says_so(size: tuple[int, int], deepest: int) -> None:
    make((1, *size), depth=deepest)
    with pytest.raises(Unsupported, match=rf"^model\.depth: wants at most {deepest} .*, got {deepest + 1}$"):
        make((1, *size), depth=deepest + 1)


def test_dropout_follows_each_hidden_activation() -> None:
    kinds = [type(layer) for layer in make(dropout=0.5).layers]
    assert kinds.count(Dropout) == 3
    assert all(kinds[place - 1] is nn.ReLU for place, kind in enumerate(kinds) if kind is Dropout)
