"""Runs of every built-in optimizer and model, small, trained together and each by itself, and what differs."""

from __future__ import annotations

import functools
import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from bench.checkpoint import Checkpoints
from bench.result import Result
from bench.spec import Run
from bench.train import train, train_together
from bench.trainee import Trainee
from tests.composing import compose_run
from tests.records import MACHINE

replace = msgspec.structs.replace

# What has a rule that updates all members in one go, and what goes beside it in the YAML.
OPTIMIZERS = (
    "sgd", "momentum", "nesterov", "adam", "adamw", "rmsprop", "adagrad", "nadam", "lion", "adafactor",
    "muon",
)  # fmt: skip
LRS = {
    "sgd": 0.3, "momentum": 0.05, "nesterov": 0.05, "adam": 3e-3, "adamw": 3e-3, "rmsprop": 1e-3, "adagrad": 0.02,
    "nadam": 3e-3, "lion": 3e-4, "adafactor": 0.03, "muon": 3e-3,
}  # fmt: skip
_DIGITS = ("workload=digits_mlp", "data=digits")
# One of every class of bench/model/, and of each of its parts that computes in a way of its own.
MODELS: dict[str, tuple[str, ...]] = {
    "mlp": (*_DIGITS, "model=digits_mlp", "model.width=16"),
    "mlp, dropout": (*_DIGITS, "model=digits_mlp", "model.width=16", "model.dropout=0.2"),
    "cnn": (*_DIGITS, "model=digits_cnn", "model.width=4"),
    "resnet, batch norm": (*_DIGITS, "model=resnet", "model.width=4"),
    "resnet, group norm": (*_DIGITS, "model=resnet", "model.width=8", "model.norm=group"),
    "vit": (*_DIGITS, "model=vit", "model.width=16", "model.heads=2"),
    "gpt": ("data=text", "model=gpt", "model.width=16", "model.heads=2"),
    "gpt, dropout": ("data=text", "model=gpt", "model.width=16", "model.heads=2", "model.dropout=0.2", "model.is_tied=false"),
    "lstm": ("data=text", "model=lstm", "model.width=16", "model.embedding_width=8"),
    "autoencoder": ("workload=fmnist_ae", "data=digits", "model=autoencoder", "model.width=16", "model.bottleneck=4"),
    "denoiser": ("workload=digits_denoiser", "model.width=16", "model.time_width=8"),
    "point": ("workload=rosenbrock", "model.start_sd=0.1"),
}  # fmt: skip


def make(model: str, optimizer: str, steps: int, *overrides: str, seed: int = 0) -> Run:
    """Return a small run in float64; three evaluations, batches of 16 rows."""
    text = [f"data.root={write_text()}", "data.length=8", "data.num_val_tokens=256"]
    return compose_run(
        *(f"{one}" for one in MODELS[model]), *(text if "data=text" in MODELS[model] else []),
        f"optimizer={optimizer}", f"optimizer.lr={LRS[optimizer]}", f"budget.steps={steps}",
        "budget.batch_size=16", "budget.evaluations=2", "precision=fp64", *overrides,
        seed=seed,
    )  # fmt: skip
