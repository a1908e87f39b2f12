"""The harness's step against a bare hand-written loop: in turns, by the meter's own clock."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from bench.meter.cell import make_cell
from bench.meter.interleave import Arm, compare, median_interval, take_turns
from bench.meter.time import collector_off
from bench.prepare import prepare
from tests.composing import compose_run

# At most: a factor at long steps, microseconds at short ones.
FACTOR, EXTRA_US = 1.02, 30.0
ROUNDS, MOST_BATCHES = 60, 6
LONG = ("model.width=512",)


def make_bare_arm(workload: str, *overrides: str) -> Arm:
    """A loop as one writes it by hand: gather the batch, forward, backward, step, learning rate."""
    run = compose_run(*overrides, workload=workload)
    model, optimizer, data = prepare(run)
    x, y, size = data.train_inputs, data.train_targets, run.budget.batch_size
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    loss_of = F.mse_loss if workload == "photo_mlp" else F.cross_entropy
    losses = []

    def step(number: int) -> None:
        rows = order[number * size % (len(x) - size) :][:size]
        for group in optimizer.param_groups:
            group["lr"] = 0.01
        loss = loss_of(model(x.index_select(0, rows)), y.index_select(0, rows))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())

    return Arm(step=step)


def make_harness_arm(workload: str, *overrides: str) -> Arm:
    cell, losses = make_cell(compose_run(*overrides, workload=workload)), []
    return Arm(step=lambda number: losses.append(cell.engine.step(number % cell.run.budget.steps)))


@pytest.mark.parametrize("name", ["sgd", "adam"])
@pytest.mark.parametrize(
    ("workload", "overrides", "block_steps"),
    [("photo_mlp", LONG, 3), ("photo_mlp", (), 25), ("digits_mlp", (), 50)],
    ids=["10 ms", "1 ms", "0.3 ms"],
)
def test_the_harness_costs_no_more_than_a_bare_loop(
    workload: str, overrides: tuple[str, ...], block_steps: int, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = (f"optimizer={name}", *overrides)
    bare, again = make_bare_arm(workload, *asked), make_bare_arm(workload, *asked)
    arms = [bare, make_harness_arm(workload, *asked), again]
    for arm in arms:
        arm.take(10)
    is_long = overrides == LONG
    # On a busy machine it takes longer until the interval lies on one side of the limit.
    for _ in range(MOST_BATCHES):
        with collector_off():
            take_turns(arms, num_rounds=ROUNDS, block_steps=[block_steps] * 3, device="cpu")
        ratio, noise = compare(arms[1], bare), compare(again, bare)
        bare_s = bare.block_means_s()
        extra_us = median_interval((arms[1].block_means_s() - bare_s) * 1e6)
        low, high, limit = (ratio.low, ratio.high, FACTOR) if is_long else (*extra_us[1:], EXTRA_US)
        if high <= limit or low > limit:
            break
    with capsys.disabled():
        print(
            f"\n{workload} {name}: bare step {median_interval(bare_s)[0] * 1e3:.3f} ms; harness / bare "
            f"{ratio.median:.3f} [{ratio.low:.3f}, {ratio.high:.3f}], {extra_us[0]:+.1f} us a step "
            f"[{extra_us[1]:+.1f}, {extra_us[2]:+.1f}]; "
            f"A/A {noise.median:.3f} [{noise.low:.3f}, {noise.high:.3f}]"
        )
    assert (ratio.median if is_long else extra_us[0]) <= limit
