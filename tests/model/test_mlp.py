"""The MLP is torch's own layers in the order anyone would write them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bench.model.dropout import Dropout
from bench.model.mlp import Mlp


@pytest.mark.parametrize(
    ("activation", "layer"),
    [("relu", nn.ReLU), ("tanh", nn.Tanh), ("sigmoid", nn.Sigmoid), ("gelu", nn.GELU)],
)
def test_it_equals_the_plain_stack_drawn_from_the_same_seed(activation: str, layer: type[nn.Module]) -> None:
    torch.manual_seed(0)
    ours = Mlp((3, 4), 2, depth=2, width=8, activation=activation, dropout=0.0)  # type: ignore[arg-type]
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(12, 8), layer(), nn.Linear(8, 8), layer(), nn.Linear(8, 2))
    pairs = list(zip(ours.parameters(), plain.parameters(), strict=True))
    assert len(pairs) == 6
    assert all(torch.equal(one, other) for one, other in pairs)
    inputs = torch.randn(5, 3, 4)
    assert torch.equal(ours(inputs), plain(inputs.flatten(1)))


@pytest.mark.parametrize(("depth", "num_params"), [(0, 64 * 10 + 10), (1, 64 * 8 + 8 + 8 * 10 + 10)])
def test_depth_counts_hidden_layers(depth: int, num_params: int) -> None:
    model = Mlp((1, 8, 8), 10, depth=depth, width=8, activation="relu", dropout=0.0)
    assert sum(parameter.numel() for parameter in model.parameters()) == num_params


def test_dropout_follows_each_hidden_activation_and_draws_no_weights() -> None:
    models = []
    for dropout in (0.0, 0.5):
        torch.manual_seed(0)
        models.append(Mlp((12,), 2, depth=3, width=8, activation="relu", dropout=dropout))
    kinds = [type(layer) for layer in models[1].layers]
    assert kinds == [nn.Linear, nn.ReLU, Dropout] * 3 + [nn.Linear]
    assert not any(isinstance(layer, Dropout) for layer in models[0].modules())
    for one, other in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.equal(one, other)
    inputs = torch.randn(5, 12)
    assert torch.equal(models[0].eval()(inputs), models[1].eval()(inputs))
    assert not torch.equal(models[0].train()(inputs), models[1].train()(inputs))
