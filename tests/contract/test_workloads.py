"""Every workload, schedule and budget YAML composes, and every workload goes downhill."""

from __future__ import annotations

import itertools
import math

import pytest

from bench.result import SETTLED
from bench.train import train
from tests.composing import compose_run, compose_study
from tests.contract.members import list_members
from tests.records import MACHINE


@pytest.mark.parametrize("name", list_members("workload"))
def test_it_is_named_frozen_and_knows_the_optimizers(name: str) -> None:
    study = compose_study(workload=name)
    assert study.workload.name == name and not study.is_workload_modified
    assert study.budget.steps == study.workload.steps
    assert study.data.sha256 is not None
    built_in = set(list_members("optimizer")) - {"custom"}
    assert built_in <= set(study.workload.lr)


@pytest.mark.parametrize("name", list_members("workload"))
def test_it_trains(name: str) -> None:
    run = compose_run("budget.steps=60", "budget.evaluations=2", "schedule=constant", workload=name)
    result, files = train(run, MACHINE)
    assert result.status == "finished", result.detail
    first, last = result.curve.val_loss[0], result.curve.val_loss[-1]
    assert first is not None and last is not None and last < first
    assert all(content for content in files.values())


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
    study = compose_study(f"experiment={name}", workload=name)
    assert study.optimizer.lr != "auto"


@pytest.mark.parametrize("name", list_members("workload"))
def test_its_frozen_reference_is_what_it_gives(name: str) -> None:
    reference = compose_study(workload=name).workload.reference["adamw"]
    result, _ = train(compose_run("optimizer=adamw", workload=name), MACHINE)
    assert result.val_loss is not None
    assert abs(result.val_loss - reference["val_loss"]) < 4 * reference["sd"]


def test_the_default_workload_tells_optimizers_apart() -> None:
    reference = compose_study().workload.reference
    losses = [reference[name]["val_loss"] for name in ("adam", "momentum", "sgd")]
    noise = max(reference[name]["sd"] for name in ("adam", "momentum", "sgd"))
    assert losses == sorted(losses)
    assert min(later - earlier for earlier, later in itertools.pairwise(losses)) > 5 * noise
