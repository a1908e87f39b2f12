"""Records for tests: a complete, valid run and result to change one thing of."""

from __future__ import annotations

from typing import Any

import msgspec

from bench.cost import Meter
from bench.effort import LrRange, OptimizerSearch
from bench.identity import run_id
from bench.kinds import SCHEMA
from bench.result import Curve, Machine, Result
from bench.spec import Budget, Data, Metering, Model, Optimizer, Precision, Run, Schedule

MACHINE = Machine(
    device="cpu",
    device_name="Test CPU @ 2 GHz",
    num_threads=1,
    num_cpus=2,
    platform="Linux x86_64",
    python="3.11.7",
    torch="2.13.0+cpu",
    bench="0.1.0",
    commit=None,
    is_dirty=None,
)
# As little as tells anything.
METER = Meter(is_on=True, warmup_steps=3, warmup_s=0.0, block_s=0.001, rounds=6, seconds=0.02)


def make_optimizer(target: str = "torch.optim.SGD", **changes: Any) -> Optimizer:
    settings: dict[str, Any] = {
        "target": target,
        "name": target.rpartition(".")[2].lower(),
        "lr": 0.1,
        "search": OptimizerSearch(lr=LrRange(default=0.1, low=0.001, high=10.0, source="test")),
    }
    return Optimizer(**(settings | changes))


def make_run(**changes: Any) -> Run:
    """Return a tiny regression run on synthetic data, with fields replaced."""
    settings: dict[str, Any] = {
        "data": Data(
            target="bench.data.gaussian.Gaussian",
            name="gaussian",
            version="1",
            licence="none",
            sha256=None,
            item="sample",
            args={"num_features": 4, "num_train": 64, "num_val": 16, "noise": 0.1, "seed": 0},
        ),
        "model": Model(
            target="bench.model.mlp.Mlp",
            name="mlp",
            args={
                "depth": 1,
                "width": 8,
                "shrink": 1.0,
                "activation": "relu",
                "dropout": 0.0,
                "initialisation": "torch",
            },
        ),
        "optimizer": make_optimizer(),
        "schedule": Schedule(name="cosine", warmup=0.1, floor=0.0, interval="step"),
        "precision": Precision(name="fp32"),
        "budget": Budget(name="test", steps=20, batch_size=16, hold="steps", accumulate=1, evaluations=4),
        "clip_norm": None,
        "ema": None,
        "device": "cpu",
        "threads": 1,
        "seed": 0,
        "vary": ("init", "order", "dropout"),
        "sources": {},
    }
    return Run(**(settings | changes))


def make_result(run: Run | None = None, **changes: Any) -> Result:
    """Return what a finished run leaves, with fields replaced."""
    run = run or make_run()
    result = Result(
        schema=SCHEMA,
        id=run_id(run),
        run=run,
        status="finished",
        detail=None,
        val_loss=0.5,
        search_loss=0.5,
        val_loss_best=0.4,
        train_loss=0.45,
        val_metrics={},
        curve=Curve(
            step=(0, 20), train_loss=(None, 0.45), val_loss=(1.0, 0.5), elapsed_s=(0.0, 0.1), val_metrics={}
        ),
        num_steps=20,
        diverged_step=None,
        num_params=49,
        num_train_items=320,
        train_s=0.1,
        eval_s=0.01,
        engine="eager",
        machine=MACHINE,
        artifacts=(),
        started_at="2026-01-01T00:00:00+00:00",
    )
    return msgspec.structs.replace(result, **changes)


def make_metering(run: Run | None = None, **changes: Any) -> Metering:
    """Return a request to measure a run's step briefly, with fields of how replaced."""
    return Metering(run=run or make_run(), meter=msgspec.structs.replace(METER, **changes))
