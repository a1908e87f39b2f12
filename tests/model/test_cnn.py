"""The CNN has the blocks it says, and refuses images that can't be halved that often."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from bench.errors import Unsupported
from bench.model.dropout import Dropout
from tests.models import make_model


def make(input_shape: tuple[int, ...] = (1, 8, 8), **changes: Any) -> nn.Module:
    return make_model("cnn", input_shape, 10, **({"width": 4} | changes))


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


@pytest.mark.parametrize(("size", "deepest"), [((8, 8), 3), ((7, 30), 2), ((2, 5), 1)])
def test_the_last_halving_counts_too(size: tuple[int, int], deepest: int) -> None:
    model = make((1, *size), depth=deepest, is_last_pooled=True)
    assert model(torch.randn(2, 1, *size)).shape == (2, 10)
    assert [type(layer) for layer in model.modules()].count(nn.MaxPool2d) == deepest
    with pytest.raises(Unsupported, match=rf"^model\.depth: wants at most {deepest} "):
        make((1, *size), depth=deepest + 1, is_last_pooled=True)


def test_kernels_and_the_dense_layer_are_as_asked() -> None:
    model = make(depth=3, kernel_size=5, first_kernel_size=1, dense_width=7)
    kernels = [layer.kernel_size for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    assert kernels == [(1, 1), (5, 5), (5, 5)]
    dense, head = (layer for layer in model.modules() if isinstance(layer, nn.Linear))
    # Two halvings of 8 pixels: no kernel takes any away.
    assert (dense.in_features, dense.out_features, head.in_features) == (16 * 2 * 2, 7, 7)


@pytest.mark.parametrize("key", ["kernel_size", "first_kernel_size"])
def test_an_even_kernel_would_move_the_image(key: str) -> None:
    with pytest.raises(ValueError, match=f"^{key}: wants an odd number, got 4$"):
        make(**{key: 4})
