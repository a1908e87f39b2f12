"""The harness's step against a bare hand-written loop: interleaved, one thread, medians of thread time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from bench import train
from bench.engine.eager import Eager
from tests.composing import compose_run

ROUNDS, STEPS = 40, 25


def time_rounds(arms: dict[str, Callable[[int], object]]) -> dict[str, float]:
    """Return each arm's median thread time per step, in seconds; arms take turns, in alternating order."""
    times: dict[str, list[float]] = {name: [] for name in arms}
    for step in arms.values():
        for number in range(STEPS):
            step(number)
    for round_number in range(ROUNDS):
        for name in sorted(arms, reverse=round_number % 2 == 1):
            start = time.thread_time()
            for number in range(STEPS):
                arms[name](number)
            times[name].append((time.thread_time() - start) / STEPS)
    return {name: statistics.median(values) for name, values in times.items()}


def bare_step(workload: str, name: str) -> Callable[[int], object]:
    """A loop as one writes it by hand: gather the batch, forward, backward, step, learning rate."""
    run = compose_run(f"optimizer={name}", workload=workload)
    model, optimizer, data = train.prepare(run)
    x, y, size = data.train_inputs, data.train_targets, run.budget.batch_size
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    loss_of = F.mse_loss if workload == "photo_mlp" else F.cross_entropy
    losses = []

    def step(number: int) -> None:
        rows = order[number * size % (len(x) - size) :][:size]
        for group in optimizer.param_groups:
            group["lr"] = 0.01
        loss = loss_of(model(x[rows]), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())

    return step


def engine_step(workload: str, name: str) -> Callable[[int], object]:
    run = compose_run(f"optimizer={name}", workload=workload)
    losses = []
    engine = Eager(run, *train.prepare(run))
    return lambda number: losses.append(engine.step(number))


@pytest.mark.parametrize("name", ["sgd", "adam"])
@pytest.mark.parametrize("workload", ["photo_mlp", "digits_mlp"])
def test_the_engine_costs_no_more_than_a_bare_loop(
    workload: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    times = time_rounds(
        {
            "bare": bare_step(workload, name),
            "bare again": bare_step(workload, name),
            "engine": engine_step(workload, name),
        }
    )
    ratio, extra_us = times["engine"] / times["bare"], (times["engine"] - times["bare"]) * 1e6
    with capsys.disabled():
        print(
            f"\n{workload} {name}: engine / bare {ratio:.3f}, {extra_us:+.1f} us a step; "
            f"A/A {times['bare again'] / times['bare']:.3f}; bare step {times['bare'] * 1e6:.0f} us"
        )
    if workload == "photo_mlp":
        assert ratio <= 1.05
    else:
        assert extra_us <= 30
