"""Without its package it is a row that says so; with it, small updates of bfloat16 weights are not lost."""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from bench.optimizer.adamw_stochastic import AdamwStochastic
from bench.train import train
from tests.composing import compose_run
from tests.records import MACHINE

OPTIONS: dict[str, Any] = {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0}


@pytest.fixture
def _graphs_end() -> Iterator[None]:
    yield
    torch.compiler.reset()


def test_without_the_package_a_run_is_a_row_that_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    # None in the list of modules is an import that fails.
    monkeypatch.setitem(sys.modules, "torchao", None)
    monkeypatch.setitem(sys.modules, "torchao.optim", None)
    run = compose_run("optimizer=adamw_stochastic", "precision=bf16_pure", workload="digits_mlp")
    result, _ = train(run, MACHINE)
    assert result.status == "unsupported"
    assert result.detail == "not run: wants the package torchao (pip install bench[lowbit])"


class Stub(torch.optim.AdamW):
    """Stands for torchao's: it too wants its lr as a tensor."""

    def __init__(self, params: Any, *, bf16_stochastic_round: bool, **options: Any) -> None:
        assert bf16_stochastic_round
        super().__init__(params, foreach=False, **options)
        for group in self.param_groups:
            group["lr"] = torch.tensor(group["lr"])

    def step(self, closure: Any = None) -> Any:
        assert all(isinstance(group["lr"], torch.Tensor) for group in self.param_groups)
        return super().step(closure)


def take_steps(optimizer: torch.optim.Optimizer, weight: nn.Parameter, num_steps: int) -> None:
    for step in range(num_steps):
        for group in optimizer.param_groups:
            group["lr"] = 0.1 / (1 + step)
        optimizer.zero_grad()
        (weight**2).sum().backward()
        optimizer.step()


def test_groups_and_state_are_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchao.optim", SimpleNamespace(_AdamW=Stub))  # type: ignore[misc]
    ours, theirs, resumed = (nn.Parameter(torch.linspace(-1, 1, 5)) for _ in range(3))
    one = AdamwStochastic([ours], **OPTIONS)
    two = torch.optim.AdamW([theirs], foreach=False, **OPTIONS)
    for optimizer, weight in ((one, ours), (two, theirs)):
        take_steps(optimizer, weight, 4)
    torch.testing.assert_close(ours, theirs)
    again = AdamwStochastic([resumed], **OPTIONS)
    again.load_state_dict(copy.deepcopy(one.state_dict()))
    resumed.data.copy_(ours.data)
    for optimizer, weight in ((one, ours), (again, resumed)):
        take_steps(optimizer, weight, 3)
    assert torch.equal(ours, resumed)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("_graphs_end")
def test_updates_below_the_spacing_of_the_numbers_add_up() -> None:
    pytest.importorskip("torchao")
    torch.manual_seed(0)
    # Next to 1, bfloat16 numbers lie 2**-8 apart below it: a step of 2**-11 rounds back to 1.
    plain, rounded = (nn.Parameter(torch.ones(4096, dtype=torch.bfloat16)) for _ in range(2))
    options = OPTIONS | {"lr": 2.0**-11}
    optimizers = torch.optim.AdamW([plain], **options), AdamwStochastic([rounded], **options)
    for _ in range(16):
        for optimizer, weight in zip(optimizers, (plain, rounded), strict=True):
            weight.grad = torch.ones_like(weight)
            optimizer.step()
    assert (plain == 1).all()
    assert rounded.float().mean().item() == pytest.approx(1 - 16 * 2.0**-11, abs=5e-4)
