"""Each YAML of conf/model/ builds a model that learns from data it declares to fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hydra
import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from bench import build
from bench.configuration import VERSION

CONF = Path(__file__).parents[2] / "conf"
OPTIONS = sorted(path.stem for path in (CONF / "model").glob("*.yaml"))
NUM_PARAMS = {"photo_mlp": 12_611, "digits_mlp": 8_970, "digits_cnn": 38_282, "gaussian_mlp": 769}
SHAPES = {"photo": ((128,), 3), "digits": ((1, 8, 8), 10), "gaussian": ((10,), 1)}
KINDS = {"features": (12,), "image": (1, 8, 8)}


def make(option: str, input_shape: tuple[int, ...], num_outputs: int, **changes: object) -> nn.Module:
    with hydra.initialize_config_dir(str(CONF), **VERSION):
        config: Any = OmegaConf.to_container(hydra.compose(f"model/{option}").model)
    cls = build.locate(config.pop("_target_"), "model._target_")
    config.pop("name")
    torch.manual_seed(0)
    model: nn.Module = cls(input_shape, num_outputs, **(config | changes))
    return model


@pytest.mark.parametrize("option", sorted(NUM_PARAMS))
def test_presets_have_the_size_they_state(option: str) -> None:
    model = make(option, *SHAPES[option.partition("_")[0]])
    assert sum(parameter.numel() for parameter in model.parameters()) == NUM_PARAMS[option]
    assert f"{NUM_PARAMS[option]:,} parameters" in (CONF / "model" / f"{option}.yaml").read_text()


@pytest.mark.parametrize("dropout", [0.0, 0.2])
@pytest.mark.parametrize("option", OPTIONS)
def test_it_learns_from_every_kind_of_input_it_declares(option: str, dropout: float) -> None:
    kinds = make(option, KINDS["image"], 3).input_kinds
    assert kinds and set(kinds) <= set(KINDS)
    for kind in kinds:
        model = make(option, KINDS[kind], 3, dropout=dropout)
        stream = torch.Generator().manual_seed(0)
        inputs = torch.randn(32, *KINDS[kind], generator=stream)
        targets = torch.randint(3, (32,), generator=stream)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        losses = []
        for _ in range(10):
            loss = nn.functional.cross_entropy(model(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < 0.8 * losses[0]
