"""Muon is two optimizers behind one door: each half steps as its own, and nothing of either leaks out."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.build import build_optimizer
from bench.meter.memory import count_bytes
from bench.optimizer.muon import Muon
from tests.composing import compose_study

SPEC = compose_study("optimizer=muon", "optimizer.lr=0.01", "optimizer.weight_decay=0.1").optimizer
OPTIONS: dict[str, Any] = {**SPEC.args, "lr": 0.01, "weight_decay": 0.1}


class Net(nn.Module):
    """Two convolutions, a hidden layer and a head: every kind but embeddings."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 6, 3), nn.ReLU(), nn.Flatten(),
            nn.Linear(96, 8), nn.ReLU(), nn.Linear(8, 3),
        )  # fmt: skip

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.layers(inputs)
        return outputs


def make_net() -> Net:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Net()


def take_step(optimizer: torch.optim.Optimizer, net: nn.Module, step: int) -> float:
    stream = torch.Generator().manual_seed(step)
    inputs = torch.randn(16, 1, 8, 8, generator=stream)
    targets = torch.randint(3, (16,), generator=stream)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(inputs), targets)
        loss.backward()
        return loss

    return optimizer.step(closure).item()  # type: ignore[arg-type, union-attr]


def orthogonalise(matrix: Tensor) -> Tensor:
    """Five Newton-Schulz steps of Jordan et al.'s quintic, in plain float64."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / x.norm()
    for _ in range(5):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if matrix.shape[0] > matrix.shape[1] else x


@pytest.mark.parametrize("shape", [(6, 10), (10, 6), (4, 3, 3, 3), (5, 2, 7)])
@pytest.mark.parametrize("is_channels_last", [False, True])
def test_a_hidden_matrix_steps_by_its_orthogonalised_momentum(
    shape: tuple[int, ...], is_channels_last: bool
) -> None:
    stream = torch.Generator().manual_seed(1)
    start = torch.randn(shape, generator=stream)
    layout = torch.channels_last if is_channels_last and len(shape) == 4 else torch.contiguous_format
    weight = nn.Parameter(start.clone(memory_format=layout))
    optimizer = Muon([{"params": [weight], "kind": "matrices"}], **OPTIONS)
    expected = start.double().flatten(1)
    momentum = torch.zeros_like(expected)
    for _ in range(3):
        gradient = torch.randn(shape, generator=stream)
        weight.grad = gradient.clone(memory_format=layout)
        optimizer.step()
        flat = gradient.double().flatten(1)
        momentum = 0.95 * momentum + flat
        update = orthogonalise(flat + 0.95 * momentum)
        expected = expected * (1 - 0.01 * 0.1) - 0.01 * 0.2 * max(expected.shape) ** 0.5 * update
    # torch orthogonalises in bfloat16, which is good to two digits.
    moved = (weight.detach().double().flatten(1) - start.flatten(1), expected - start.double().flatten(1))
    assert (moved[0] - moved[1]).norm() < 0.03 * moved[1].norm()


def test_everything_else_steps_as_adamw_does() -> None:
    net, twin = make_net(), make_net()
    optimizer = build_optimizer(SPEC, net)
    names = [name for name, parameter in twin.named_parameters() if parameter.ndim < 2]
    others = [*names, "layers.7.weight"]
    adamw = torch.optim.AdamW(
        [twin.get_parameter(name) for name in others], lr=0.01, weight_decay=0.1, fused=True
    )
    for step in range(3):
        take_step(optimizer, net, step)
        for name in others:
            twin.get_parameter(name).grad = net.get_parameter(name).grad
        adamw.step()
    for name in others:
        assert torch.equal(net.get_parameter(name), twin.get_parameter(name)), name


def test_it_learns_and_a_scheduled_lr_acts_on_both_halves() -> None:
    net = make_net()
    optimizer = build_optimizer(SPEC, net)
    losses = [take_step(optimizer, net, 0) for _ in range(20)]
    assert losses[-1] < 0.85 * losses[0]
    before = copy.deepcopy(net.state_dict())
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    take_step(optimizer, net, 0)
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


def test_it_resumes_bit_for_bit_and_a_deep_copy_goes_on() -> None:
    net = make_net()
    optimizer = build_optimizer(SPEC, net)
    for step in range(4):
        take_step(optimizer, net, step)
    saved = copy.deepcopy((net.state_dict(), optimizer.state_dict()))
    copied_net, copied = copy.deepcopy((net, optimizer))
    undisturbed = [take_step(optimizer, net, step) for step in range(4, 8)]
    again = make_net()
    again.load_state_dict(saved[0])
    resumed = build_optimizer(SPEC, again)
    resumed.load_state_dict(saved[1])
    assert [take_step(resumed, again, step) for step in range(4, 8)] == undisturbed
    assert [take_step(copied, copied_net, step) for step in range(4, 8)] == undisturbed


def test_the_closure_is_called_once_and_gradients_are_let_go() -> None:
    net = make_net()
    optimizer = build_optimizer(SPEC, net)
    calls: list[int] = []

    def closure() -> float:
        calls.append(1)
        optimizer.zero_grad()
        net(torch.ones(2, 1, 8, 8)).sum().backward()
        return 3.0

    assert optimizer.step(closure) == 3.0 and calls == [1]
    # Nothing inside may keep the flat views, whose gradients are the model's.
    assert all(not half.param_groups and not half.state for half in optimizer._halves)  # type: ignore[attr-defined]


def test_its_state_is_seen_by_the_count_of_bytes() -> None:
    net = make_net()
    optimizer = build_optimizer(SPEC, net)
    take_step(optimizer, net, 0)
    sizes = {name: parameter.numel() for name, parameter in net.named_parameters()}
    hidden = sum(size for name, size in sizes.items() if name in {f"layers.{n}.weight" for n in (0, 2, 5)})
    # One momentum for a hidden weight, two moments for any other, four bytes each.
    assert count_bytes(net, optimizer).state_bytes == 4 * hidden + 8 * (sum(sizes.values()) - hidden)


@pytest.mark.parametrize("kind", ["matrices", "vectors"])
def test_one_half_alone_works(kind: str) -> None:
    weight = nn.Parameter(torch.ones(3, 4))
    optimizer = Muon([{"params": [weight], "kind": kind}], **OPTIONS)
    weight.grad = torch.ones(3, 4)
    optimizer.step()
    assert (weight < 1).all()


def test_a_group_says_its_kind() -> None:
    with pytest.raises(ValueError, match="groups that say their kind"):
        Muon([nn.Parameter(torch.ones(3, 4))], **OPTIONS)
