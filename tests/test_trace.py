"""do=trace prints the norms that a step written by hand has, before it and after."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn.functional import cross_entropy

from bench.prepare import prepare
from bench.seeds import seed_for
from bench.trace import trace
from tests.commands import run_bench
from tests.composing import compose_run, compose_study

ASKED = ("optimizer=sgd", "optimizer.lr=0.5", "schedule=constant", "schedule.warmup=0", "precision=fp32")


def test_the_table_is_that_of_a_step_by_hand() -> None:
    lines = list(trace([compose_study(*ASKED, workload="digits_mlp")]))
    assert max(map(len, lines)) <= 100
    table = {line.split("  ")[0].rstrip(): line for line in lines}
    run = compose_run(*ASKED, workload="digits_mlp")
    model, optimizer, data = prepare(run)
    inputs, targets = data.train_batch(seed_for(0, run.vary, "order"), 0, run.budget.batch_size)
    columns: dict[str, list[tuple[float, float]]] = {}
    losses, start = [], {name: weight.detach().clone() for name, weight in model.named_parameters()}
    for _ in range(2):
        optimizer.zero_grad()
        loss = cross_entropy(model(inputs), targets)
        loss.backward()
        losses.append(float(loss.detach()))
        for name in ("layers.0", "layers.2", "layers.4"):
            layer = model.get_submodule(name)
            weights = torch.cat([one.detach().flatten() for one in layer.parameters()])
            gradients = torch.cat([one.grad.flatten() for one in layer.parameters() if one.grad is not None])
            columns.setdefault(name, []).append((float(gradients.norm()), float(weights.norm())))
        if len(losses) == 1:
            optimizer.step()
    for name, ((gradient, weight), (gradient_after, weight_after)) in columns.items():
        moved = sum(
            float((one.detach() - start[key]).square().sum())
            for key, one in model.named_parameters()
            if key.startswith(name)
        )
        expected = [gradient, gradient_after, weight, weight_after, moved**0.5 / weight]
        found = [float(word) for word in table[name].split()[1:]]
        assert found == pytest.approx(expected, rel=2e-3)
    assert [float(word) for word in table["loss"].split()[1:]] == pytest.approx(losses, rel=1e-3)
    assert losses[1] < losses[0]


def test_the_command_prints_it_and_stores_nothing(tmp_path: Path) -> None:
    done = run_bench("do=trace", "workload=digits_mlp", cwd=tmp_path)
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert "layers.0" in done.stdout and "units of layers.1 that are 0" in done.stdout
    assert not list(tmp_path.rglob("result.json"))
    done = run_bench("do=trace", "workload=digits_mlp", "model=gpt", cwd=tmp_path)
    assert done.returncode == 2 and "does not fit" in done.stderr and done.stderr.count("\n") == 1
