"""Models as their YAML makes them, small enough to test, with inputs that they take."""

from __future__ import annotations

import functools
from typing import Any

import hydra
import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

from bench.arguments import bind, locate
from bench.configuration import VERSION, config_folder

# The shape of one input of each kind.
SHAPES = {"features": (12,), "image": (1, 8, 8), "tokens": (8,), "noised": (1, 8, 8), "point": (3,)}
# Every class of bench/model/, by its YAML, with what makes it small.
SMALL: dict[str, dict[str, Any]] = {
    "mlp": {"width": 16},
    "cnn": {"width": 4},
    "resnet": {"width": 8, "norm": "group"},
    "vit": {"width": 16, "heads": 2},
    "gpt": {"width": 16, "heads": 2},
    "lstm": {"width": 16, "embedding_width": 8},
    "autoencoder": {"width": 16, "bottleneck": 4},
    "denoiser": {"width": 16, "time_width": 8},
    # As its preset has it, every seed starts at the same place.
    "point": {"start_sd": 1.0},
}


@functools.cache
def read_option(option: str) -> dict[str, Any]:
    """Return a YAML of conf/model/ as Hydra composes it."""
    with hydra.initialize_config_dir(str(config_folder()), **VERSION):
        config: Any = OmegaConf.to_container(hydra.compose(f"model/{option}").model)
    return config  # type: ignore[no-any-return]


def find_class(option: str) -> type[nn.Module]:
    cls: type[nn.Module] = locate(read_option(option)["_target_"], "model._target_")
    return cls


def kinds_of(option: str) -> tuple[str, ...]:
    kinds: tuple[str, ...] = find_class(option).input_kinds  # type: ignore[attr-defined]
    return kinds


def make_model(
    option: str, input_shape: tuple[int, ...], num_outputs: int, seed: int = 0, **changes: object
) -> nn.Module:
    """Return a model with its weights drawn from a seed, its arguments checked as the builder does."""
    given = {key: value for key, value in read_option(option).items() if key not in ("_target_", "name")}
    cls = find_class(option)
    arguments = bind(cls, given | changes, "model", supplied=("input_shape", "num_outputs"))
    torch.manual_seed(seed)
    return cls(input_shape, num_outputs, **arguments)


def make_small(option: str, num_outputs: int = 3, seed: int = 0, **changes: object) -> nn.Module:
    """Return a small model of a class, for the first kind of input that it takes."""
    shape = SHAPES[kinds_of(option)[0]]
    return make_model(option, shape, num_outputs, seed, **(SMALL[option] | changes))


def make_inputs(
    kind: str, input_shape: tuple[int, ...] | None = None, num_outputs: int = 3, batch: int = 4, seed: int = 0
) -> tuple[Tensor, ...]:
    """Return what `forward` takes: one tensor, or for a noised image two."""
    stream = torch.Generator().manual_seed(seed)
    shape = input_shape or SHAPES[kind]
    if kind == "tokens":
        return (torch.randint(num_outputs, (batch, *shape), generator=stream),)
    inputs = torch.randn(batch, *shape, generator=stream)
    return (inputs, 1 - torch.rand(batch, generator=stream)) if kind == "noised" else (inputs,)


def count_params(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
