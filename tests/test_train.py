"""The loop against hand-written twins, loss for loss; its determinism; and its ends."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import msgspec
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bench import build
from bench.cost import Phase
from bench.engine.eager import Eager
from bench.model.dropout import Dropout, find_layers, set_step
from bench.prepare import prepare
from bench.result import Result
from bench.seeds import derive
from bench.spec import Budget, Precision, Run, Schedule
from bench.tally import evaluation_steps
from bench.train import train
from tests.composing import compose_run
from tests.records import MACHINE, make_optimizer, make_run

replace = msgspec.structs.replace
FULL_BATCH = Budget(name="full batch", steps=20, batch_size=64, hold="steps", accumulate=1, evaluations=4)

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": lambda p, lr: torch.optim.SGD(p, lr=lr, fused=True),
    "momentum": lambda p, lr: torch.optim.SGD(p, lr=lr, momentum=0.9, fused=True),
    "adam": lambda p, lr: torch.optim.Adam(p, lr=lr, fused=True),
    "adamw": lambda p, lr: torch.optim.AdamW(p, lr=lr, weight_decay=0.01, fused=True),
}


def run_to_end(run: Run) -> Result:
    return train(run, MACHINE)[0]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_hand_written_loop_gives_the_same_curve(name: str) -> None:
    run = compose_run(f"optimizer={name}", "budget.steps=150", "budget.evaluations=3")
    data = build.load_data(run.data, "cpu")
    x, y = data.train_inputs, data.train_targets

    torch.manual_seed(derive(0, "init"))
    model = nn.Sequential(nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 3))
    optimizer = OPTIMIZERS[name](model.parameters(), lr=run.optimizer.lr)
    window, train_losses, val_losses = [], [], []
    for step in range(150):
        epoch, place = divmod(step, len(x) // 512)
        if place == 0:
            order = torch.randperm(len(x), generator=torch.Generator().manual_seed(derive(0, "order", epoch)))
        rows = order[place * 512 : (place + 1) * 512]
        warm, decay = (step + 1) / 8, 0.5 * (1 + math.cos(math.pi * (step - 8) / 142))
        for group in optimizer.param_groups:
            group["lr"] = run.optimizer.lr * (warm if step < 8 else decay)
        loss = F.mse_loss(model(x[rows]), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        window.append(loss.item())
        if step + 1 in (50, 100, 150):
            train_losses.append(math.fsum(window) / len(window))
            with torch.no_grad():
                xv, yv = data.val_inputs[1::2], data.val_targets[1::2]
                chunks = zip(xv.split(4096), yv.split(4096), strict=True)
                sums = [(F.mse_loss(model(a), b, reduction="sum") / 3).double() for a, b in chunks]
            val_losses.append(sum(sums).item() / len(xv))
            window = []

    curve = run_to_end(run).curve
    assert list(curve.train_loss[1:]) == train_losses
    assert list(curve.val_loss[1:]) == val_losses


def test_tutorial_dropout_program_equals_its_twin() -> None:
    run = compose_run("experiment=tutorial_dropout", workload="tutorial_dropout")
    data = build.load_data(run.data, "cpu")
    torch.manual_seed(derive(0, "init"))
    model = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), Dropout(0.2), nn.Linear(64, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-4, fused=True)
    size = run.budget.batch_size
    losses = []
    for step in range(run.budget.steps):
        epoch, place = divmod(step, len(data.train_inputs) // size)
        order = torch.randperm(
            len(data.train_inputs), generator=torch.Generator().manual_seed(derive(0, "order", epoch))
        )
        rows = order[place * size : (place + 1) * size]
        set_step(find_layers(model), 0, step)
        optimizer.zero_grad()
        loss = F.mse_loss(model(data.train_inputs[rows]), data.train_targets[rows])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    result = run_to_end(replace(run, budget=replace(run.budget, evaluations=run.budget.steps)))
    assert list(result.curve.train_loss[1:]) == losses
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_tutorial_decay_program_equals_its_twin(name: str) -> None:
    run = compose_run("experiment=tutorial_decay", f"optimizer={name}", workload="tutorial_decay")
    data = build.load_data(run.data, "cpu")
    torch.manual_seed(derive(0, "init"))
    model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[name]
    optimizer = kind(model.parameters(), lr=1e-3, weight_decay=0.01, fused=True)
    losses = []
    for _ in range(300):
        optimizer.zero_grad()
        loss = F.mse_loss(model(data.train_inputs), data.train_targets)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    result = run_to_end(replace(run, budget=replace(run.budget, evaluations=300)))
    assert list(result.curve.train_loss[1:]) == losses
    with torch.no_grad():
        assert result.val_loss == pytest.approx(
            F.mse_loss(model(data.val_inputs[1::2]), data.val_targets[1::2]).item(), rel=1e-6
        )


@pytest.mark.parametrize("args", [{}, {"dropout": 0.3}])
def test_the_same_seed_twice_is_bit_identical(args: dict[str, float]) -> None:
    run = make_run(model=replace(make_run().model, args=make_run().model.args | args))
    one = run_to_end(run)
    torch.rand(11)
    two = run_to_end(run)
    assert replace(one.curve, elapsed_s=()) == replace(two.curve, elapsed_s=())
    assert one.val_loss == two.val_loss
    assert run_to_end(replace(run, seed=1)).val_loss != one.val_loss


@pytest.mark.parametrize("impl", ["fused", "foreach", "forloop"])
def test_adamw_without_decay_is_adam_bit_for_bit(impl: str) -> None:
    adam, adamw = (
        run_to_end(
            make_run(optimizer=make_optimizer(f"torch.optim.{kind}", weight_decay=0.0, impl=impl, lr=0.01))
        )
        for kind in ("Adam", "AdamW")
    )
    assert adam.curve.train_loss == adamw.curve.train_loss and adam.val_loss == adamw.val_loss


def test_a_closure_optimizer_trains() -> None:
    result = run_to_end(make_run(optimizer=make_optimizer("torch.optim.LBFGS", lr=0.1), budget=FULL_BATCH))
    assert result.status == "finished"
    assert result.val_loss is not None and result.val_loss < 0.5 * result.curve.val_loss[0]  # type: ignore[operator]


def test_divergence_is_a_result_with_its_step() -> None:
    run = make_run(
        optimizer=make_optimizer(lr=1e9),
        schedule=Schedule(name="constant", warmup=0.0, floor=1.0, interval="step"),
    )
    result = run_to_end(run)
    assert result.status == "diverged" and result.val_loss is None
    assert result.diverged_step is not None and 0 < result.diverged_step < 20
    assert result.detail is not None and str(result.diverged_step) in result.detail
    assert all(loss is None or math.isfinite(loss) for loss in result.curve.val_loss)
    assert msgspec.json.decode(msgspec.json.encode(result), type=Result) == result


class Crash(nn.Linear):
    """Fails at its third call, the way a bug in a model does."""

    calls = 0

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        Crash.calls += 1
        if Crash.calls > 2:
            raise RuntimeError("wire came loose\nsecond line")
        return super().forward(inputs)


def test_a_crash_is_a_status_with_its_traceback() -> None:
    model = replace(
        make_run().model, target="tests.test_train.Crash", args={"in_features": 4, "out_features": 1}
    )
    result, files = train(make_run(model=model), MACHINE)
    assert result.status == "failed" and result.detail == "RuntimeError: wire came loose"
    assert b"in forward" in files["traceback.txt"]


def test_clipping_bounds_the_first_update() -> None:
    plain, clipped = make_run(clip_norm=None), make_run(clip_norm=1e-4)
    assert run_to_end(plain).val_loss != run_to_end(clipped).val_loss
    start = run_to_end(clipped).curve.val_loss
    assert start[0] == pytest.approx(start[-1], rel=1e-2)


@pytest.mark.parametrize("name", ["fp32", "fp16"])
def test_marks_close_each_phase_of_a_step(name: Literal["fp32", "fp16"]) -> None:
    budget = replace(make_run().budget, accumulate=2)
    run = make_run(precision=Precision(name=name), budget=budget, clip_norm=1e-3, ema=0.9)
    model, optimizer, data = prepare(run)
    engine, twin = Eager(run, model, optimizer, data), Eager(run, *prepare(run))
    seen: list[tuple[str, bool, bool]] = []
    start = [weight.detach().clone() for weight in model.parameters()]

    def mark(phase: Phase) -> None:
        has_moved = any(not torch.equal(a, b) for a, b in zip(start, model.parameters(), strict=True))
        has_gradients = all(weight.grad is not None for weight in model.parameters())
        seen.append((phase, has_gradients, has_moved))

    # The scaler of fp16 leaves out its first steps.
    losses = [engine.step(step).item() for step in range(8)]
    start = [weight.detach().clone() for weight in model.parameters()]
    engine.mark = mark
    losses.append(engine.step(8).item())
    assert [phase for phase, _, _ in seen] == ["data", *2 * ["forward", "backward"], "optimizer"]
    assert [has_gradients for _, has_gradients, _ in seen[1:]] == [False, True, True, True, True]
    assert [has_moved for _, _, has_moved in seen] == [False] * 5 + [True]
    assert losses == [twin.step(step).item() for step in range(9)]


def test_evaluation_points_end_at_the_end() -> None:
    assert evaluation_steps(600, 20) == list(range(30, 601, 30))
    assert evaluation_steps(3, 20) == [1, 2, 3]
    assert evaluation_steps(1, 1) == [1]
