"""A run that went wrong is taken again, and what made the first number that is none is named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench.identity import run_id
from bench.replay import Missing, replay
from bench.result import Result
from bench.spec import Run
from bench.store import Store
from bench.train import train
from tests.commands import run_bench
from tests.composing import compose_run
from tests.records import MACHINE, make_result
from tests.tiers import few

# A layer that goes wrong in one way from one step of training on, and is like any other before.
PLANTED = """
import torch
from torch import nn


class Faulty(nn.Linear):
    how, at, num = "{how}", {at}, 0

    def forward(self, inputs):
        outputs = super().forward(inputs)
        if not self.training:
            return outputs
        self.num += 1
        if self.num <= self.at:
            return outputs
        if self.how == "forward":
            return outputs * float("nan")
        if self.how == "raise":
            raise RuntimeError("planted")
        # Its value is 0, its gradient 0 times infinity.
        return outputs + (outputs * 0).abs().sqrt() * 0


class Net(nn.Module):
    def __init__(self, input_shape, num_outputs):
        super().__init__()
        self.first = nn.Linear(64, 16)
        self.middle = Faulty(16, 16)
        self.last = nn.Linear(16, num_outputs)

    def forward(self, inputs):
        return self.last(self.middle(self.first(inputs.flatten(1)).relu()).relu())
"""
STEPS = ("budget=smoke", "budget.steps=30", "budget.evaluations=3", "search=none", "meter=none", "seeds=1")


@pytest.mark.parametrize(
    ("how", "found"),
    few(
        [
            ("forward", "middle (Faulty): forward output is not finite; its norm was "),
            ("gradient", "middle (Faulty)"),
            ("raise", "middle (Faulty): RuntimeError: planted"),
        ]
    ),
)
def test_a_planted_fault_is_named_by_module_and_step(how: str, found: str, tmp_path: Path) -> None:
    (tmp_path / f"planted_{how}.py").write_text(PLANTED.format(how=how, at=17))
    net = ("workload=digits_mlp", f"model._target_=planted_{how}.Net", "model.name=net", "precision=fp32")
    given = ("~model.depth", "~model.width", "~model.shrink", "~model.activation", "~model.dropout")
    done = run_bench(*net, *given, "~model.initialisation", *STEPS, cwd=tmp_path)
    (stored,) = (tmp_path / "results" / "runs").glob("*/*")
    assert done.returncode == (3 if how == "raise" else 0) or "failed" in done.stderr, done.stderr
    again = run_bench("do=replay", f"run={stored.name[:6]}", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "looked at from step 10 on" in again.stdout
    (line,) = (line for line in again.stdout.splitlines() if line.startswith("culprit: "))
    assert line.startswith(f"culprit: step 17, {found}"), again.stdout
    if how == "gradient":
        assert "gradient" in line and "is not finite" in line
        # The operation, and the line of code that made it.
        (cause,) = (line for line in again.stdout.splitlines() if line.startswith("  autograd: "))
        assert "SqrtBackward0" in cause and "(outputs * 0).abs().sqrt() * 0" in cause


def test_an_lr_that_is_too_high_is_seen_in_what_it_made(tmp_path: Path) -> None:
    run, result = diverge(tmp_path)
    lines = list(replay(tmp_path, run_id(run)[:8]))
    step = re.match(r"culprit: step (\d+), ", lines[-1])
    assert step and result.diverged_step is not None, lines
    # The weights or outputs of a step before, or the loss of this one.
    assert result.diverged_step - 1 <= int(step[1]) <= result.diverged_step


def test_an_end_that_does_not_come_back_is_said(tmp_path: Path) -> None:
    run = compose_run("budget.steps=4", "budget.evaluations=2", workload="digits_mlp")
    Store(tmp_path).publish(make_result(run, status="diverged", diverged_step=2, detail="planted"))
    with pytest.raises(Missing, match="did not come back in 4 steps"):
        list(replay(tmp_path, run_id(run)[:8]))


def test_what_did_not_go_wrong_or_is_not_there_is_refused(tmp_path: Path) -> None:
    run = compose_run("budget.steps=4", workload="digits_mlp")
    Store(tmp_path).publish(make_result(run))
    done = run_bench("do=replay", f"run={run_id(run)[:8]}", f"place.results={tmp_path}", cwd=tmp_path)
    assert done.returncode == 2 and "this one ended as finished" in done.stderr
    # Digits that Hydra would take for a number.
    done = run_bench("do=replay", "run=12e4", f"place.results={tmp_path}", cwd=tmp_path)
    assert done.returncode == 2 and "run=12e4: wants one run" in done.stderr
    done = run_bench("do=replay", cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.count("\n") == 1


def diverge(root: Path) -> tuple[Run, Result]:
    run = compose_run(
        "optimizer=sgd", "optimizer.lr=1e6", "precision=fp32", "budget.steps=30", workload="digits_mlp"
    )
    result, files = train(run, MACHINE)
    assert result.status == "diverged"
    Store(root).publish(result, files)
    return run, result
