"""The optimizer alone: the bytes it has to move are exact, and what bounds it is told from measured times."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn

from bench.cost import Update
from bench.meter import update
from bench.meter.cell import Cell, make_cell
from bench.meter.update import measure_update, shrink
from tests.composing import compose_run


def warmed(*overrides: str) -> Cell:
    cell = make_cell(compose_run("model=mlp", "model.depth=1", *overrides, workload="digits_mlp"))
    cell.arm.take(3)
    return cell


@pytest.mark.parametrize(
    ("name", "bytes_per_param"), [("sgd", 12), ("momentum", 20), ("adam", 28), ("adamw", 28), ("lion", 20)]
)
def test_ideal_bytes_are_each_tensor_moved_once(name: str, bytes_per_param: int) -> None:
    cell = warmed(f"optimizer={name}")
    num_params = sum(parameter.numel() for parameter in cell.model.parameters())
    before = [parameter.detach().clone() for parameter in cell.model.parameters()]
    found = measure_update(cell, "a CPU", 0.005)
    assert found.ideal_bytes == bytes_per_param * num_params
    assert found.step_s > 0 and found.floor_s > 0
    # All the work was done, and the weights are where they were.
    for parameter, weight in zip(cell.model.parameters(), before, strict=True):
        torch.testing.assert_close(parameter.detach(), weight, rtol=1e-5, atol=1e-6)
    assert all(group["lr"] > 1e-9 for group in cell.optimizer.param_groups)


class Times:
    """Stands in for the clock: a step over the cell's own tensors takes one time, over tiny ones another."""

    def __init__(self, step_s: float, floor_s: float) -> None:
        self._answers = itertools.cycle([[step_s], [floor_s]])

    def __call__(self, *_: Any) -> list[float]:
        return next(self._answers)


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, float, float], Update]]:
    monkeypatch.setattr(update, "measure_bandwidth", lambda device: 1e10)
    monkeypatch.setattr(update, "find_peak", lambda *_: (1e11, "measured"))

    def give(name: str, step_s: float, floor_s: float) -> Update:
        monkeypatch.setattr(update, "_time_steps", Times(step_s, floor_s))
        return measure_update(warmed(f"optimizer={name}", "model.width=128"), "a CPU", 0.0)

    yield give


def test_what_bounds_a_step(judge: Callable[[str, float, float], Update]) -> None:
    assert judge("adam", 1e-3, 6e-4).bound == "launch"
    assert judge("adam", 1e-3, 1e-4).bound == "bandwidth"
    # Newton-Schulz on a matrix of 128 x 64 is 30 products of some size; its bytes are few.
    assert judge("muon", 1e-2, 1e-4).bound == "compute"
    assert judge("muon", 1e-2, 9e-3).bound == "launch"


def test_a_shrunken_model_looks_the_same_to_an_optimizer() -> None:
    model = nn.Sequential(nn.Embedding(50, 8), nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Linear(8, 50))
    model[3].weight = model[0].weight
    model[1].weight.requires_grad_(False)
    tiny = shrink(model)
    names = [name for name, _ in model.named_parameters()]
    assert [name for name, _ in tiny.named_parameters()] == names
    for name, parameter in tiny.named_parameters():
        whole = model.get_parameter(name)
        assert (parameter.numel(), parameter.ndim) == (1, whole.ndim)
        assert parameter.requires_grad == whole.requires_grad
    assert tiny[3].weight is tiny[0].weight and model[0].weight.numel() == 400


def test_small_models_are_launch_bound_and_large_ones_are_not() -> None:
    torch.set_num_threads(1)
    small = warmed("optimizer=adam", "optimizer.impl=forloop", "model.width=2", "model.depth=4")
    assert measure_update(small, "a CPU", 0.02).bound == "launch"
    large = warmed("optimizer=adam", "model.width=1024", "model.depth=2")
    assert measure_update(large, "a CPU", 0.02).bound == "bandwidth"
