"""An average of the weights follows them as its formula says, and leaves them alone."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from bench.average import Average


class Net(nn.Module):
    """Weights, running statistics, dropout, and one matrix used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.norm = nn.BatchNorm1d(4)
        self.drop = nn.Dropout(0.5)
        self.last = nn.Linear(4, 4)
        self.last.weight = self.first.weight

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.last(self.drop(self.norm(self.first(inputs))))
        return outputs


def make_net() -> Net:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Net().double()


def train(net: Net, average: Average | None, steps: range) -> None:
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for step in steps:
        inputs = torch.randn(8, 4, generator=torch.Generator().manual_seed(step), dtype=torch.float64)
        torch.manual_seed(step)
        optimizer.zero_grad()
        net(inputs).square().mean().backward()
        optimizer.step()
        if average is not None:
            average.update()


def test_it_is_the_weighted_sum_of_all_weights_there_were() -> None:
    decay, num_steps = 0.9, 150
    layer = nn.Linear(3, 2).double()
    average = Average(layer, decay)
    stream = torch.Generator().manual_seed(0)
    # Until 90 % of (1 + t) / (10 + t) is reached, at t = 80, the early rule holds.
    decays = [min(decay, (1 + t) / (10 + t)) for t in range(1, num_steps + 1)]
    seen = [layer.weight.detach().clone()]
    for _ in range(num_steps):
        with torch.no_grad():
            layer.weight.copy_(torch.randn(2, 3, generator=stream, dtype=torch.float64))
        average.update()
        seen.append(layer.weight.detach().clone())
    expected = torch.zeros(2, 3, dtype=torch.float64)
    share = 1.0
    for weights, kept in zip(reversed(seen[1:]), reversed(decays), strict=True):
        expected += share * (1 - kept) * weights
        share *= kept
    expected += share * seen[0]
    weight = average.module.get_parameter("weight")
    torch.testing.assert_close(weight, expected, rtol=1e-12, atol=1e-14)
    # The start is all but forgotten, which 0.9^150 alone would not be for a decay of 0.999.
    assert decays[0] == pytest.approx(2 / 11) and decays[79] == pytest.approx(0.9) and decays[80] == decay


def test_weights_that_stand_still_are_their_own_average() -> None:
    net = make_net()
    average = Average(net, 0.999)
    for _ in range(20):
        average.update()
    for kept, own in zip(average.module.parameters(), net.parameters(), strict=True):
        assert torch.equal(kept, own)


def test_training_is_the_same_with_and_without_it() -> None:
    net, alone = make_net(), make_net()
    average = Average(net, 0.99)
    train(net, average, range(10))
    train(alone, None, range(10))
    assert average.module is not net and net.training
    for name, value in net.state_dict().items():
        assert torch.equal(value, alone.state_dict()[name]), name
    # Nothing is shared: changing the copy changes no weight.
    before = copy.deepcopy(net.state_dict())
    with torch.no_grad():
        for value in [*average.module.parameters(), *average.module.buffers()]:
            value.zero_()
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


def test_it_evaluates_with_the_live_statistics_and_without_dropout() -> None:
    net = make_net()
    average = Average(net, 0.99)
    train(net, average, range(10))
    module = average.module
    assert torch.equal(module.get_buffer("norm.running_var"), net.norm.running_var)
    assert module.get_buffer("norm.num_batches_tracked") == 10
    # Tied weights stay tied, and nothing of it is trained.
    assert module.get_parameter("first.weight") is module.get_parameter("last.weight")
    assert not any(parameter.requires_grad for parameter in module.parameters())
    inputs = torch.ones(3, 4, dtype=torch.float64)
    assert torch.equal(module(inputs), module(inputs)) and not torch.equal(module(inputs), net.eval()(inputs))


def test_it_resumes_bit_for_bit() -> None:
    net = make_net()
    average = Average(net, 0.99)
    train(net, average, range(5))
    saved = copy.deepcopy((net.state_dict(), average.state_dict()))
    train(net, average, range(5, 10))
    again = make_net()
    again.load_state_dict(saved[0])
    resumed = Average(again, 0.99)
    resumed.load_state_dict(saved[1])
    train(again, resumed, range(5, 10))
    for name, value in average.module.state_dict().items():
        assert torch.equal(resumed.module.state_dict()[name], value), name


def test_without_decay_it_is_the_weights() -> None:
    net = make_net()
    average = Average(net, 0.0)
    train(net, average, range(3))
    for kept, own in zip(average.module.parameters(), net.parameters(), strict=True):
        assert torch.equal(kept, own)
