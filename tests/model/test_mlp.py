"""The MLP is torch's own layers in the order anyone would write them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bench.model.dropout import Dropout
from tests.models import count_params, make_model


@pytest.mark.parametrize(
    ("activation", "layer"),
    [("relu", nn.ReLU), ("tanh", nn.Tanh), ("sigmoid", nn.Sigmoid), ("gelu", nn.GELU), ("silu", nn.SiLU)],
)
def test_it_equals_the_plain_stack_drawn_from_the_same_seed(activation: str, layer: type[nn.Module]) -> None:
    torch.manual_seed(0)
    ours = make_model("mlp", (3, 4), 2, depth=2, width=8, activation=activation)
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(12, 8), layer(), nn.Linear(8, 8), layer(), nn.Linear(8, 2))
    pairs = list(zip(ours.parameters(), plain.parameters(), strict=True))
    assert len(pairs) == 6
    assert all(torch.equal(one, other) for one, other in pairs)
    inputs = torch.randn(5, 3, 4)
    assert torch.equal(ours(inputs), plain(inputs.flatten(1)))


@pytest.mark.parametrize(("depth", "num_params"), [(0, 64 * 10 + 10), (1, 64 * 8 + 8 + 8 * 10 + 10)])
def test_depth_counts_hidden_layers(depth: int, num_params: int) -> None:
    assert count_params(make_model("mlp", (1, 8, 8), 10, depth=depth, width=8)) == num_params


@pytest.mark.parametrize(
    ("shrink", "widths"),
    [(0.5, [20, 10, 5, 2, 1, 1, 1]), (1.0, [20] * 7), (1.5, [20, 30, 45, 68, 101, 152, 228])],
)
def test_widths_go_by_shrink_and_never_to_nothing(shrink: float, widths: list[int]) -> None:
    model = make_model("mlp", (4,), 3, depth=7, width=20, shrink=shrink)
    linear = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    assert [layer.out_features for layer in linear] == [*widths, 3]


def test_dropout_follows_each_hidden_activation_and_draws_no_weights() -> None:
    models = [make_model("mlp", (12,), 2, depth=3, width=8, dropout=dropout) for dropout in (0.0, 0.5)]
    kinds = [type(layer) for layer in models[1].layers]
    assert kinds == [nn.Linear, nn.ReLU, Dropout] * 3 + [nn.Linear]
    assert not any(isinstance(layer, Dropout) for layer in models[0].modules())
    for one, other in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.equal(one, other)
    inputs = torch.randn(5, 12)
    assert torch.equal(models[0].eval()(inputs), models[1].eval()(inputs))
    assert not torch.equal(models[0].train()(inputs), models[1].train()(inputs))
