"""A run's id holds everything that may change its numbers, and nothing else."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from bench.identity import cell_id, cost_id, run_id
from bench.spec import Compile, Precision, Recompute, Run, Schedule
from tests.records import make_metering, make_optimizer, make_run

RUN = make_run()
replace = msgspec.structs.replace


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"threads": 2},
        {"device": "cuda"},
        {"clip_norm": 1.0},
        {"optimizer": make_optimizer(lr=0.2)},
        {"optimizer": make_optimizer(weight_decay=0.0)},
        {"optimizer": make_optimizer(impl="fused")},
        {"optimizer": make_optimizer(args={"momentum": 0.9})},
        {"optimizer": make_optimizer(target="torch.optim.Adam")},
        {"model": replace(RUN.model, args=RUN.model.args | {"width": 9})},
        {"data": replace(RUN.data, sha256="0" * 64)},
        {"data": replace(RUN.data, args=RUN.data.args | {"seed": 1})},
        {"schedule": Schedule(name="cosine", warmup=0.2, floor=0.0, interval="step")},
        {"budget": replace(RUN.budget, steps=21)},
        {"budget": replace(RUN.budget, batch_size=8)},
        {"precision": Precision(name="bf16")},
        {"recompute": Recompute(name="block")},
        {"compile": Compile(name="model")},
        {"sources": {"my.Optimizer": "sha256:1"}},
    ],
)
def test_whatever_changes_numbers_changes_the_id(changes: dict[str, Any]) -> None:
    assert run_id(make_run(**changes)) != run_id(RUN)


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": make_optimizer(name="other")},
        {"optimizer": make_optimizer(weight_decay_kind="l2")},
        {"model": replace(RUN.model, name="other")},
        {"data": replace(RUN.data, name="other", licence="other", version="2")},
        {"budget": replace(RUN.budget, name="other")},
        {"clip_norm": None},
    ],
)
def test_labels_do_not_change_the_id(changes: dict[str, Any]) -> None:
    assert run_id(make_run(**changes)) == run_id(RUN)


def test_a_record_that_was_written_and_read_has_the_same_id() -> None:
    run = make_run(recompute=Recompute(name="segments", segments=3), compile=Compile(name="step"))
    for each in (RUN, run, make_run(schedule=Schedule(name="wsd", warmup=0.1, floor=0.0, interval="step"))):
        assert run_id(msgspec.json.decode(msgspec.json.encode(each), type=Run)) == run_id(each)


def test_spelling_of_a_number_does_not_change_the_id() -> None:
    one = make_run(optimizer=make_optimizer(lr=1, args={"momentum": 0, "betas": [1, 0]}))
    other = make_run(optimizer=make_optimizer(lr=1.0, args={"betas": (1.0, -0.0), "momentum": 0.0}))
    assert run_id(one) == run_id(other)
    is_nesterov = make_run(optimizer=make_optimizer(lr=1, args={"momentum": True, "betas": [1, 0]}))
    assert run_id(is_nesterov) != run_id(
        make_run(optimizer=make_optimizer(lr=1, args={"momentum": 1, "betas": [1, 0]}))
    )


def test_seeds_share_a_cell_and_a_cost() -> None:
    other = make_run(seed=7)
    assert cell_id(RUN) == cell_id(other)
    assert cost_id(make_metering(RUN)) == cost_id(make_metering(other))
    assert cost_id(make_metering(RUN, rounds=7)) != cost_id(make_metering(RUN))
