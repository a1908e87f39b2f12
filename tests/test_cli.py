"""A wrong request is one line and exit code 2 before anything runs; a right one does what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.command import name_sweep as sweep_name
from tests.commands import run_bench
from tests.composing import compose_study


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["optimizer.lrr=1"], "optimizer.lrr: no such key; did you mean 'optimizer.lr'?"),
        (["optimizer=adamm"], "optimizer=adamm: no such choice; did you mean 'adam'?"),
        (["optimizer.lr=fast"], "optimizer.lr: wants a number > 0 or 'auto', got 'fast'"),
        (["optimizer.lr=-1"], "optimizer.lr: wants a number > 0 or 'auto', got -1"),
        (["optimizer.lr=inf"], "optimizer.lr: wants a finite number, got inf"),
        (["budget.steps=0"], "budget.steps: wants a whole number >= 1, got 0"),
        (["model.width=1.5"], "model.width: wants a whole number >= 1, got 1.5"),
        (["optimzer=adam"], "optimzer: no such key; did you mean 'optimizer'?"),
        (["seed=3"], "seed: no such key; did you mean 'seeds'?"),
        (["optimizer.lr=[1"], "optimizer.lr=[1: can't be read as an override"),
        (["optimizer=custom"], "optimizer._target_: missing"),
        (
            ["optimizer=custom", "optimizer._target_=Adam", "optimizer.name=x"],
            "optimizer._target_: wants an import path",
        ),
        (
            ["optimizer=custom", "optimizer._target_=torch.optim.Adamm", "optimizer.name=x"],
            "did you mean 'Adam",
        ),
        (
            ["do=compar"],
            "do: wants 'check', 'compare', 'noise', 'plan', 'predict', 'replay' or 'trace', got 'compar'",
        ),
        (["device=cuda"], "device=cuda: this machine has cpu only"),
        (["data.stride=0"], "data.stride: wants"),
        (["-m", "optimizer=adam,adamw", "optimizer.lr=1e-3,oops"], "got 'oops'"),
    ],
)
def test_a_wrong_request_is_one_line(arguments: list[str], line: str, tmp_path: Path) -> None:
    done = run_bench(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("bench: ")
    assert line in done.stderr
    assert done.stdout == ""
    assert not list(tmp_path.rglob("result.json"))


def test_help_explains_and_does_not_import_torch(tmp_path: Path) -> None:
    done = run_bench("--help", cwd=tmp_path, is_watched=True)
    assert done.returncode == 0
    for word in ("Groups", "optimizer: adafactor, ", "workload:", "Common overrides", "Examples"):
        assert word in done.stdout
    assert done.stdout.count("python -m bench -m optimizer=") == 2
    assert done.stderr.strip() == "torch not imported"
    assert max(map(len, done.stdout.splitlines())) <= 100
    assert list(tmp_path.iterdir()) == []


def test_hydra_flags_keep_working(tmp_path: Path) -> None:
    job = run_bench("--cfg", "job", "optimizer=sgd", cwd=tmp_path)
    assert job.returncode == 0 and "_target_: torch.optim.SGD" in job.stdout
    query = run_bench("-sc", "query=bash", cwd=tmp_path, COMP_LINE="bench optimizer=mom")
    assert query.returncode == 0 and query.stdout.split() == ["optimizer=momentum"]


def test_a_plan_runs_nothing(tmp_path: Path) -> None:
    done = run_bench("-m", "optimizer=adam,adamw", "do=plan", cwd=tmp_path)
    assert done.returncode == 0
    plan, stage = done.stdout.splitlines()
    assert plan.startswith("plan: 2 optimizers x 1 workload: 18 runs to search, then about ")
    assert plan.endswith("; 0 cached; time unknown: nothing like it was timed on this device yet")
    assert stage == "search: 18 runs in 2 studies; 0 cached"
    assert done.stderr == ""
    assert not list(tmp_path.rglob("*.json"))


def test_sweep_names_ignore_order_and_places() -> None:
    one = sweep_name(["optimizer=adam,adamw", "seeds=3", "place.results=x", "hydra/launcher=joblib"])
    two = sweep_name(["seeds=3", "report.reference=adam", "optimizer=adam,adamw"])
    assert one.split("-")[-1] == two.split("-")[-1]
    assert one.startswith("adam-adamw-seeds3-")
    assert sweep_name(["optimizer=adam"]) != sweep_name(["optimizer=adamw"])
    assert sweep_name([]).startswith("default-")
    hostile = sweep_name(["optimizer.name=../../x\n<b>" + "y" * 300])
    assert "/" not in hostile and ".." not in hostile and len(hostile) < 60


@pytest.mark.parametrize(
    ("overrides", "is_modified"),
    [
        ([], False),
        (["optimizer=sgd", "seeds=2", "schedule=linear"], False),
        (["budget=smoke"], True),
        (["model.depth=3"], True),
        (["model.depth=2"], False),
        (["data.stride=4"], True),
        (["workload.margin=0.1"], True),
    ],
)
def test_an_overridden_workload_is_starred(overrides: list[str], is_modified: bool) -> None:
    assert compose_study(*overrides).is_workload_modified is is_modified
