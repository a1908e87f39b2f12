"""Every optimizer YAML: it builds, goes downhill, does so twice alike, and continues from its saved state."""

from __future__ import annotations

import copy
import functools
import inspect

import msgspec
import pytest
import torch
from torch import nn

from bench import build
from bench.spec import Optimizer
from tests.composing import compose_study
from tests.contract.members import list_members

# The one member that says nothing until a class is given.
GIVEN = {"custom": ("optimizer._target_=torch.optim.Adagrad", "optimizer.name=adagrad")}
# Wants a package of an extra, and compiles its update for many seconds: tests/optimizer/ has its tests.
APART = {"adamw_stochastic"}
MEMBERS = [name for name in list_members("optimizer") if name not in APART]


@functools.cache
def compose_optimizer(name: str, *overrides: str) -> Optimizer:
    return compose_study(f"optimizer={name}", *GIVEN.get(name, ()), *overrides).optimizer


class Bowl(nn.Module):
    """A parabola of 30 dimensions with curvatures from 0.1 to 1, started away from its bottom.

    One matrix and one vector: some optimizers treat them differently.
    """

    def __init__(self) -> None:
        super().__init__()
        place = torch.linspace(-2.0, 2.0, 30)
        self.matrix = nn.Parameter(place[:24].reshape(4, 6).clone())
        self.vector = nn.Parameter(place[24:].clone())

    def forward(self) -> torch.Tensor:
        place = torch.cat([self.matrix.flatten(), self.vector])
        return (torch.linspace(0.1, 1.0, 30) * place**2).sum()


def go_down(optimizer: torch.optim.Optimizer, bowl: Bowl, num_steps: int) -> list[float]:
    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = bowl()
        loss.backward()
        return loss

    return [optimizer.step(closure).item() for _ in range(num_steps)]  # type: ignore[arg-type, union-attr]


def start(name: str) -> tuple[torch.optim.Optimizer, Bowl]:
    bowl = Bowl()
    return build.build_optimizer(compose_optimizer(name, "optimizer.lr=0.02"), bowl), bowl


@pytest.mark.parametrize("name", MEMBERS)
def test_it_goes_downhill_the_same_way_twice(name: str) -> None:
    one, two = go_down(*start(name), 20), go_down(*start(name), 20)
    assert one == two
    assert one[-1] < one[0]


@pytest.mark.parametrize("name", MEMBERS)
def test_it_continues_from_its_saved_state_bit_for_bit(name: str) -> None:
    optimizer, bowl = start(name)
    go_down(optimizer, bowl, 7)
    saved = copy.deepcopy((optimizer.state_dict(), bowl.state_dict()))
    undisturbed = go_down(optimizer, bowl, 7)
    again, other_bowl = start(name)
    other_bowl.load_state_dict(saved[1])
    again.load_state_dict(saved[0])
    assert go_down(again, other_bowl, 7) == undisturbed


@pytest.mark.parametrize("name", list_members("optimizer"))
def test_its_yaml_says_what_a_search_needs(name: str) -> None:
    spec = compose_optimizer(name)
    lr = spec.search.lr
    assert lr.low < lr.default < lr.high
    assert lr.source
    assert spec.lr == "auto"
    if spec.weight_decay is not None:
        assert spec.weight_decay_kind in ("l2", "decoupled")


@pytest.mark.parametrize("name", [name for name in MEMBERS if name not in GIVEN])
def test_every_implementation_agrees(name: str) -> None:
    spec = compose_optimizer(name, "optimizer.lr=0.02")
    # What the class has, its signature says.
    accepted = inspect.signature(build.locate(spec.target, "optimizer._target_")).parameters
    flags = [flag for flag in ("fused", "foreach") if flag in accepted]
    assert spec.impl in (*flags, "forloop") if flags else spec.impl is None
    ends = []
    for impl in [*flags, "forloop"]:
        bowl = Bowl()
        go_down(build.build_optimizer(msgspec.structs.replace(spec, impl=impl), bowl), bowl, 20)
        ends.append([parameter.detach() for parameter in bowl.parameters()])
    for end in ends[1:]:
        torch.testing.assert_close(ends[0], end, rtol=1e-5, atol=1e-6)


# Plain descent can't tell the two apart.
@pytest.mark.parametrize("name", [name for name in MEMBERS if name not in {*GIVEN, "sgd"}])
def test_weight_decay_is_of_the_kind_its_yaml_names(name: str) -> None:
    # Without a gradient, a decoupled decay takes lr * weight_decay off a weight; L2 goes through the rest.
    spec = compose_optimizer(name, "optimizer.lr=0.02", "optimizer.weight_decay=0.5")
    bowl = Bowl()
    start = bowl.vector.detach().clone()
    optimizer = build.build_optimizer(spec, bowl)
    for parameter in bowl.parameters():
        parameter.grad = torch.zeros_like(parameter)
    for _ in range(3):
        optimizer.step()
    kept = bowl.vector.detach() / start
    is_decoupled = torch.allclose(kept, torch.full_like(kept, (1 - 0.02 * 0.5) ** 3), rtol=1e-6, atol=0)
    assert is_decoupled == (spec.weight_decay_kind == "decoupled")
