"""Memory is counted to the byte: what is held, and what a step needs at its worst moment."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.errors import Unsupported
from bench.meter.memory import HeldBytes, count_bytes, measure_peak, resident

Make = Callable[[Any], torch.optim.Optimizer]

BATCH, WIDTH = 1024, 128
OPTIMIZERS: dict[str, tuple[Make, int]] = {
    "sgd": (lambda params: torch.optim.SGD(params, lr=0.01, fused=True), 0),
    "momentum": (lambda params: torch.optim.SGD(params, lr=0.01, momentum=0.9, fused=True), 4),
    "adam": (lambda params: torch.optim.Adam(params, lr=0.01, fused=True), 8),
}


class Training:
    """Two linear layers of WIDTH on a resident batch, driven by a resident output gradient."""

    def __init__(self, make: Make) -> None:
        self.model = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH))
        self.optimizer = make(self.model.parameters())
        self._inputs, self._gradient = torch.randn(BATCH, WIDTH), torch.randn(BATCH, WIDTH)

    def step(self) -> None:
        self.model(self._inputs).backward(self._gradient)
        self.optimizer.step()
        self.optimizer.zero_grad()

    def peak_bytes(self) -> int:
        peak_bytes, source = measure_peak(self.step, resident(self.model, self.optimizer), "cpu")
        assert source == "cpu_allocator_events"
        return peak_bytes


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_state_is_exactly_0_4_or_8_bytes_per_parameter(name: str) -> None:
    make, bytes_per_param = OPTIMIZERS[name]
    training = Training(make)
    training.step()
    num_params = 2 * (WIDTH * WIDTH + WIDTH)
    expected = HeldBytes(4 * num_params, 4 * num_params, bytes_per_param * num_params)
    # Gradients were cleared after the step, and count all the same.
    assert count_bytes(training.model, training.optimizer) == expected


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_peak_is_what_a_hand_count_gives_and_repeats(name: str) -> None:
    make, bytes_per_param = OPTIMIZERS[name]
    training = Training(make)
    weights, activations = 4 * WIDTH * WIDTH, 4 * BATCH * WIDTH
    held = 2 * weights * (4 + bytes_per_param) // 4
    # In the backward of ReLU: the output, ReLU's result, the gradients of its result and of its input, and
    # the gradient of the second layer's weight.
    by_hand = held + 4 * activations + weights
    first = training.peak_bytes()
    assert first == pytest.approx(by_hand, rel=0.01)
    assert training.peak_bytes() == first


def test_gradients_that_stay_until_the_next_step_add_nothing() -> None:
    training = Training(OPTIMIZERS["adam"][0])

    def step_clearing_first() -> None:
        training.optimizer.zero_grad()
        training.model(training._inputs).backward(training._gradient)
        training.optimizer.step()

    # Twice each: blocks from before a profile are freed in it, blocks from an earlier profile too.
    for _ in range(2):
        held = resident(training.model, training.optimizer)
        peak_bytes, _ = measure_peak(step_clearing_first, held, "cpu")
        assert peak_bytes == training.peak_bytes()


def test_the_profiler_is_silent_and_stderr_is_put_back(capfd: pytest.CaptureFixture[str]) -> None:
    Training(OPTIMIZERS["sgd"][0]).peak_bytes()
    os.write(2, b"still here")
    assert capfd.readouterr() == ("", "still here")


def test_a_device_that_can_not_tell_says_so() -> None:
    with pytest.raises(Unsupported, match="mps"):
        measure_peak(lambda: None, [], "mps")


def test_tied_weights_and_views_count_once() -> None:
    model = nn.Sequential(nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False))
    model[1].weight = nn.Parameter(model[0].weight.detach().t())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    optimizer.state[model[0].weight]["view"] = model[0].weight.detach().flatten()
    held = count_bytes(model, optimizer)
    assert (held.params_bytes, held.state_bytes) == (8 * 8 * 4, 0)


def test_frozen_parameters_have_no_gradient() -> None:
    model = nn.Sequential(nn.Linear(8, 8, bias=False), nn.Linear(8, 4, bias=False))
    model[0].weight.requires_grad_(False)
    assert count_bytes(model, torch.optim.SGD(model[1].parameters(), lr=0.1)) == (4 * 96, 4 * 32, 0)


def test_nested_state_counts_and_counters_do_not() -> None:
    model = nn.Linear(4, 1, bias=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    optimizer.state[model.weight] = {
        "step": torch.zeros(()),
        "factors": [torch.zeros(4, 4), (torch.zeros(1, 1), {"inverse": torch.zeros(2, dtype=torch.float64)})],
        "lr": 0.1,
    }
    # One element, and still a moment: it has its parameter's shape.
    optimizer.state[model.bias] = {"step": torch.zeros(()), "moment": torch.zeros(1)}
    assert count_bytes(model, optimizer).state_bytes == 64 + 16 + 4


def test_resident_tensors_are_all_that_stays() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    model[0].cached_index = torch.zeros(7)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    model(torch.randn(8, 4)).sum().backward()
    optimizer.step()
    held: list[Tensor] = list(resident(model, optimizer))
    parameters = 16 + 4 + 4 + 4
    batch_norm = 4 + 4 + 1
    assert sum(tensor.numel() for tensor in held) == 4 * parameters + 4 + batch_norm + 7


@pytest.mark.gpu
def test_cuda_peaks_hold_state_and_repeat() -> None:
    peaks = []
    for name in OPTIMIZERS:
        training = Training(OPTIMIZERS[name][0])
        training.model.cuda()
        training._inputs, training._gradient = training._inputs.cuda(), training._gradient.cuda()
        held = resident(training.model, training.optimizer)
        first = measure_peak(training.step, held, "cuda")
        assert first == measure_peak(training.step, held, "cuda")
        peaks.append(first[0])
    assert peaks == sorted(set(peaks))
