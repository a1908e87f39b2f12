"""Every workload, schedule and budget YAML composes, and every workload goes downhill."""

from __future__ import annotations

import itertools
import math

import pytest
import yaml

from bench import build
from bench.configuration import config_folder
from bench.errors import Unsupported
from bench.result import SETTLED
from bench.spec import Run
from bench.train import train
from tests.composing import compose_run, compose_study
from tests.contract.members import list_members
from tests.records import MACHINE
from tests.tiers import few

TUNED = ("sgd", "momentum", "adam", "adamw")


def list_suite(name: str) -> list[str]:
    suite = yaml.safe_load((config_folder() / "suite" / f"{name}.yaml").read_text())
    return [str(workload) for workload in suite["workloads"]]


# What a laptop trains; test_large_workloads.py holds the others to their contract.
LIGHT = sorted({*list_suite("full"), "tutorial_decay", "tutorial_dropout"})
# Of those, the ones whose whole run takes some seconds at most.
QUICK = [name for name in LIGHT if not name.startswith(("kjv", "fmnist", "digits_denoiser"))]


@pytest.mark.parametrize("name", few(list_members("workload"), 8))
def test_it_is_named_frozen_and_knows_the_optimizers(name: str) -> None:
    study = compose_study(workload=name)
    assert study.workload.name == name and not study.is_workload_modified
    assert study.budget.steps == study.workload.steps
    assert set(TUNED) <= set(study.workload.lr)
    if name in LIGHT:
        assert study.data.sha256 is not None
        assert set(TUNED) <= set(study.workload.reference)


@pytest.mark.parametrize("name", few(LIGHT, 4))
def test_it_trains(name: str) -> None:
    run = compose_run("budget.steps=30", "budget.evaluations=1", "schedule=constant", workload=name)
    require_data(run)
    result, files = train(run, MACHINE)
    assert result.status == "finished", result.detail
    first, last = result.curve.val_loss[0], result.curve.val_loss[-1]
    assert first is not None and last is not None and last < first
    assert all(content for content in files.values())


@pytest.mark.parametrize("suite", ["quick", "default", "full"])
def test_a_suite_is_workloads_that_exist_each_once(suite: str) -> None:
    workloads = list_suite(suite)
    assert set(workloads) <= set(list_members("workload"))
    assert len(set(workloads)) == len(workloads)
    assert set(workloads) <= set(LIGHT)


@pytest.mark.parametrize("name", list_members("schedule"))
def test_every_schedule_ends_its_run(name: str) -> None:
    run = compose_run(f"schedule={name}", "budget=smoke", workload="gaussian_mlp")
    result, _ = train(run, MACHINE)
    assert result.status in SETTLED and result.num_steps == 10
    assert result.val_loss is not None and math.isfinite(result.val_loss)


@pytest.mark.parametrize("name", list_members("budget"))
def test_every_budget_keeps_the_batch_size(name: str) -> None:
    study = compose_study(f"budget={name}", workload="digits_mlp")
    assert study.budget.name == name and study.budget.batch_size == 64
    assert study.budget.steps <= study.workload.steps


@pytest.mark.parametrize("name", list_members("experiment"))
def test_every_experiment_composes(name: str) -> None:
    # A tutorial program is a workload of the same name; other experiments stand on any.
    own = {"workload": name} if name in list_members("workload") else {}
    study = compose_study(f"experiment={name}", **own)
    # Only a tutorial program fixes its learning rate; for the others one is searched, or none is needed.
    assert study.optimizer.lr != "auto" or not own


@pytest.mark.parametrize(
    "name",
    [*few(QUICK, 4), *(pytest.param(name, marks=pytest.mark.slow) for name in LIGHT if name not in QUICK)],
)
def test_its_frozen_reference_is_what_it_gives(name: str) -> None:
    reference = compose_study(workload=name).workload.reference["adamw"]
    run = compose_run("optimizer=adamw", workload=name)
    require_data(run)
    result, _ = train(run, MACHINE)
    assert result.val_loss is not None
    assert abs(result.val_loss - reference["val_loss"]) < 4 * reference["sd"]


def require_data(run: Run) -> None:
    """Skip, with the line that says what to install, where a package or file is not there."""
    try:
        build.load_data(run.data, "cpu")
    except Unsupported as error:
        pytest.skip(str(error))


def test_the_default_workload_tells_optimizers_apart() -> None:
    reference = compose_study().workload.reference
    losses = [reference[name]["val_loss"] for name in ("adam", "momentum", "sgd")]
    noise = max(reference[name]["sd"] for name in ("adam", "momentum", "sgd"))
    assert losses == sorted(losses)
    assert min(later - earlier for earlier, later in itertools.pairwise(losses)) > 5 * noise
