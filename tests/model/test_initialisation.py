"""Each way to draw weights has the spread of its paper, and touches linear maps and convolutions alone."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from tests.models import SMALL, find_class, kinds_of, make_inputs, make_model, make_small

KEYED = ["mlp", "cnn", "resnet", "vit", "autoencoder", "denoiser"]
NAMES = ["torch", "xavier", "kaiming", "lecun", "orthogonal", "normal"]
# A square map of this many inputs, and its standard deviation under each name.
WIDTH = 256
SDS = {
    "torch": math.sqrt(1 / (3 * WIDTH)),
    "xavier": math.sqrt(2 / (2 * WIDTH)),
    "kaiming": math.sqrt(2 / WIDTH),
    "lecun": math.sqrt(1 / WIDTH),
    "orthogonal": math.sqrt(1 / WIDTH),
    "normal": 0.02,
}


def list_layers(model: nn.Module) -> list[nn.Linear | nn.Conv2d]:
    return [layer for layer in model.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]


@pytest.mark.parametrize("name", NAMES)
def test_the_spread_is_the_papers(name: str) -> None:
    model = make_model("mlp", (WIDTH,), WIDTH, depth=1, width=WIDTH, initialisation=name)
    for layer in list_layers(model):
        # 65,536 draws: their standard deviation is within 1.5 % of what it should be.
        assert layer.weight.std().item() == pytest.approx(SDS[name], rel=0.015)
        assert abs(layer.weight.mean().item()) < 5 * SDS[name] / WIDTH
        assert layer.bias.any().item() is (name == "torch")


@pytest.mark.parametrize("name", ["kaiming", "lecun"])
def test_a_convolution_counts_every_input_it_adds_up(name: str) -> None:
    model = make_model("cnn", (64, 4, 4), 3, depth=1, width=64, initialisation=name)
    gain = 2 if name == "kaiming" else 1
    assert list_layers(model)[0].weight.std().item() == pytest.approx(math.sqrt(gain / (64 * 9)), rel=0.02)


def test_orthogonal_rows_are() -> None:
    model = make_model("mlp", (WIDTH,), 10, depth=1, width=WIDTH, initialisation="orthogonal")
    for layer in list_layers(model):
        product = layer.weight @ layer.weight.T
        torch.testing.assert_close(product, torch.eye(len(product)), rtol=0, atol=1e-5)


@pytest.mark.parametrize("option", KEYED)
@pytest.mark.parametrize("name", NAMES)
def test_every_model_runs_from_it_and_nothing_else_is_moved(option: str, name: str) -> None:
    drawn = make_small(option, initialisation=name)
    own = make_small(option, initialisation="torch")
    redrawn = {id(layer.weight) for layer in list_layers(drawn)}
    for one, other in zip(drawn.parameters(), own.parameters(), strict=True):
        if id(one) in redrawn:
            assert torch.equal(one, other) is (name == "torch")
        elif name == "torch" or not any(one is layer.bias for layer in list_layers(drawn)):
            assert torch.equal(one, other)
        else:
            assert not one.any()
    assert drawn(*make_inputs(kinds_of(option)[0])).isfinite().all()


def test_every_model_offers_it_or_has_a_reason() -> None:
    # GPT has GPT-2's; a point has no layers; an LSTM's recurrence is none of these maps.
    assert set(SMALL) - set(KEYED) == {"gpt", "lstm", "point"}
    for option in SMALL:
        is_offered = "initialisation" in find_class(option).__init__.__annotations__
        assert is_offered is (option in KEYED or option == "gpt")
