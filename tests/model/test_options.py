"""Each YAML of conf/model/ builds a model of the size it states, that learns from data it declares to fit."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bench.configuration import config_folder
from tests.contract.members import list_members
from tests.models import SHAPES, SMALL, count_params, kinds_of, make_inputs, make_model
from tests.tiers import few

OPTIONS = list_members("model")
# Preset -> the data it is for, as (input_shape, num_outputs), and its parameters there.
PRESETS: dict[str, tuple[tuple[int, ...], int, int]] = {
    "photo_mlp": ((128,), 3, 12_611),
    "digits_mlp": ((1, 8, 8), 10, 8_970),
    "digits_cnn": ((1, 8, 8), 10, 38_282),
    "gaussian_mlp": ((10,), 1, 769),
    "mnist1d_mlp": ((40,), 10, 15_210),
    "fmnist_mlp": ((1, 28, 28), 10, 109_386),
    "flights_mlp": ((126,), 1, 12_353),
    "fmnist_cnn": ((1, 28, 28), 10, 52_266),
    "fmnist_2c2d": ((1, 28, 28), 10, 3_274_634),
    "fmnist_autoencoder": ((1, 28, 28), 784, 219_804),
    "resnet18": ((3, 32, 32), 10, 11_173_962),
    "resnet34": ((3, 32, 32), 10, 21_282_122),
    "resnet50": ((3, 224, 224), 1000, 25_557_032),
    "vit_fmnist": ((1, 28, 28), 10, 60_298),
    "vit_cifar": ((3, 32, 32), 10, 4_770_570),
    "vit_small": ((3, 224, 224), 1000, 22_050_664),
    "gpt_2x64": ((64,), 65, 112_512),
    "gpt_6x384": ((256,), 65, 10_745_088),
    "gpt_162m": ((1024,), 50_304, 163_109_376),
    "gpt2_124m": ((1024,), 50_257, 124_439_808),
    "gpt2_350m": ((1024,), 50_257, 354_823_168),
    "gpt2_774m": ((1024,), 50_257, 774_030_080),
    "gpt2_1_5b": ((1024,), 50_257, 1_557_611_200),
    "kjv_lstm": ((64,), 65, 111_873),
    "digits_denoiser": ((1, 8, 8), 64, 87_616),
}
# Too large to be trained here; what they are made of is trained in a smaller one.
LARGE = {option for option, (_, _, num_params) in PRESETS.items() if num_params > 300_000} | {"resnet"}
# Published sizes that are no preset's: data, number of parameters.
PUBLISHED = [
    ("resnet18", {"stem": "imagenet"}, (3, 224, 224), 1000, 11_689_512),
    ("resnet34", {"stem": "imagenet"}, (3, 224, 224), 1000, 21_797_672),
    ("vit_small", {"width": 768, "heads": 12}, (3, 224, 224), 1000, 86_567_656),
]


@pytest.mark.parametrize("option", sorted(PRESETS))
def test_presets_have_the_size_they_state(option: str) -> None:
    input_shape, num_outputs, num_params = PRESETS[option]
    with torch.device("meta"):
        assert count_params(make_model(option, input_shape, num_outputs)) == num_params
    assert f"{num_params:,} parameters" in (config_folder() / "model" / f"{option}.yaml").read_text()


@pytest.mark.parametrize(("option", "changes", "input_shape", "num_outputs", "num_params"), PUBLISHED)
def test_published_sizes_are_met(
    option: str, changes: dict[str, object], input_shape: tuple[int, ...], num_outputs: int, num_params: int
) -> None:
    with torch.device("meta"):
        assert count_params(make_model(option, input_shape, num_outputs, **changes)) == num_params


@pytest.mark.parametrize(
    ("option", "dropout"),
    few(
        [
            *((option, 0.0) for option in sorted(set(OPTIONS) - LARGE - {"point"})),
            *((option, 0.2) for option in sorted(set(SMALL) - LARGE - {"point"})),
        ],
        12,
    ),
)
def test_it_learns_from_every_kind_of_input_it_declares(option: str, dropout: float) -> None:
    kinds = kinds_of(option)
    assert kinds and set(kinds) <= set(SHAPES)
    for kind in kinds:
        # A preset may be for images of its own size alone.
        has_own = option in PRESETS and kind == "image" and len(PRESETS[option][0]) == 3
        shape = PRESETS[option][0] if has_own else SHAPES[kind]
        model = make_model(option, shape, 3, dropout=dropout)
        inputs = make_inputs(kind, shape, batch=16)
        # A language model says what it reads; all others have a class to learn for each input.
        targets = inputs[0].flatten() if kind == "tokens" else torch.arange(16) % 3
        optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
        losses = []
        for _ in range(25):
            loss = nn.functional.cross_entropy(model(*inputs).flatten(0, -2), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < 0.5 * losses[0]
