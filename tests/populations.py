"""Small runs of every built-in optimizer and model, trained together and each by itself, and what differs."""

from __future__ import annotations

import atexit
import functools
import math
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from bench.checkpoint import Checkpoints
from bench.result import Result
from bench.spec import Run
from bench.train import train, train_together
from bench.trainee import Trainee
from tests.composing import compose_run
from tests.image_files import IDX_NAMES, idx_bytes
from tests.records import MACHINE

replace = msgspec.structs.replace

# What has a rule that updates all members in one go, with an lr that trains these models.
LRS = {
    "sgd": 0.3,
    "momentum": 0.05,
    "nesterov": 0.05,
    "adam": 3e-3,
    "adamw": 3e-3,
    "rmsprop": 1e-3,
    "adagrad": 0.02,
    "nadam": 3e-3,
    "lion": 3e-4,
    "adafactor": 0.03,
    "muon": 3e-3,
}
# Every class of bench/model/, and what of it computes in a way of its own.
MODELS: dict[str, tuple[str, ...]] = {
    "mlp": ("data=digits", "model=mlp", "model.width=16"),
    "mlp, dropout": ("data=digits", "model=mlp", "model.width=16", "model.dropout=0.2"),
    "cnn": ("data=digits", "model=cnn", "model.width=4"),
    "resnet, batch norm": ("data=digits", "model=resnet", "model.width=4"),
    # Where the last stage sees one pixel its groups are pairs of numbers, whose norm is nearly a sign: the
    # gradient is then all rounding.
    "resnet, group norm": ("data=mnist", "model=resnet", "model.width=8", "model.norm=group"),
    "vit": ("data=digits", "model=vit", "model.width=16", "model.heads=2"),
    "gpt": ("data=text", "model=gpt", "model.width=16", "model.heads=2"),
    "gpt, dropout": ("data=text", "model=gpt", "model.width=16", "model.is_tied=false", "model.dropout=0.2"),
    "lstm": ("data=text", "model=lstm", "model.width=16", "model.embedding_width=8"),
    "autoencoder": ("data=digits", "model=autoencoder", "model.width=16", "model.bottleneck=4"),
    "denoiser": ("data=digits_noised", "model=denoiser", "model.width=16", "model.time_width=8"),
    "point": ("data=rosenbrock", "model=point", "model.start_sd=0.1"),
}
SMALLER_LR = {"point": 0.01}


@functools.cache
def write_files() -> Path:
    """Return a folder with a text and with pictures of 16 x 16 pixels, gone when this process is."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    stream = np.random.default_rng(5)
    (folder / "input.txt").write_bytes(stream.choice(list(b"abcdefgh \n"), 6000).astype(np.uint8).tobytes())
    for side, num in (("train", 200), ("test", 40)):
        images = stream.integers(0, 256, (num, 16, 16)).astype(np.uint8)
        (folder / IDX_NAMES[f"{side}_images"]).write_bytes(idx_bytes(images))
        (folder / IDX_NAMES[f"{side}_labels"]).write_bytes(idx_bytes((np.arange(num) % 10).astype(np.uint8)))
    return folder


@functools.cache
def make(model: str, *overrides: str, steps: int = 6, batch: int = 16) -> Run:
    """Return a small run of adamw in float64, evaluated three times."""
    words = list(MODELS[model])
    if "data=text" in words:
        words += [f"data.root={write_files()}", "data.length=6", "data.num_val_tokens=256"]
    if "data=mnist" in (*words, *overrides):
        words += [f"data.root={write_files()}", "data.sha256=null"]
    return compose_run(
        *words, f"budget.steps={steps}", f"budget.batch_size={batch}", "budget.evaluations=2",
        "precision=fp64", "optimizer=adamw", *overrides,
        workload="digits_mlp",
    )  # fmt: skip


@functools.cache
def make_optimizer(name: str, *overrides: str) -> Any:
    """Return an optimizer as its YAML has it."""
    return compose_run(
        f"optimizer={name}", f"optimizer.lr={LRS[name]}", *overrides, workload="digits_mlp"
    ).optimizer


def vary(run: Run, name: str, num: int = 4) -> list[Run]:
    """Return members that differ in all the numbers that an optimizer lets differ."""
    runs = []
    for number in range(num):
        optimizer = make_optimizer(name)
        factor = SMALLER_LR.get(run.model.name, 1.0) * 2.0 ** -(number % 3)
        args = dict(optimizer.args)
        if "betas" in args and name != "nadam":
            args["betas"] = [args["betas"][0] - 0.05 * (number % 2), args["betas"][1] - 0.01 * (number % 3)]
        if "eps" in args and name not in ("adafactor", "muon"):
            args["eps"] = args["eps"] * 10 ** (number % 2)
        if name in ("momentum", "nesterov", "muon"):
            args["momentum"] = args["momentum"] - 0.1 * (number % 2)
        if name == "rmsprop":
            args["alpha"] = args["alpha"] - 0.09 * (number % 2)
        changed = {"lr": optimizer.lr * factor, "args": args}
        if optimizer.weight_decay is not None:
            changed["weight_decay"] = 0.01 * (1 + number % 3)
        runs.append(replace(run, optimizer=replace(optimizer, **changed), seed=number))
    return runs


def train_all(
    runs: Sequence[Run],
    keeps: Sequence[Checkpoints | None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> list[Result]:
    """Return the ends of runs that train together, in their order."""
    trainees = [Trainee(run, None if keeps is None else keeps[place]) for place, run in enumerate(runs)]
    found = {place: result for place, result, _ in train_together(trainees, MACHINE, should_stop)}
    return [found[place] for place in range(len(runs))]


def train_each(runs: Iterable[Run]) -> list[Result]:
    """Return the ends of runs that train by themselves."""
    return [train(run, MACHINE)[0] for run in runs]


def list_numbers(result: Result, is_all: bool = True) -> list[float | None]:
    """Return every number that a run gave, times apart; or its losses."""
    curve = result.curve
    names = sorted(curve.val_metrics) if is_all else []
    metrics = [value for name in names for value in curve.val_metrics[name]]
    return [*curve.train_loss, *curve.val_loss, *metrics, result.search_loss]


def find_worst(ones: Sequence[Result], others: Sequence[Result], *, is_all: bool = True) -> float:
    """Return the largest relative difference of any number of results, which have to have ended alike.

    Args:
        ones: Some.
        others: The same runs.
        is_all: Whether shares of hits count, too, of which one row may be a large part.
    """
    worst = 0.0
    for one, other in zip(ones, others, strict=True):
        assert (one.status, one.detail, one.curve.step) == (other.status, other.detail, other.curve.step)
        for a, b in zip(list_numbers(one, is_all), list_numbers(other, is_all), strict=True):
            assert (a is None) == (b is None), (a, b)
            if a is not None and b is not None and a != b:
                worst = max(worst, math.inf if math.isnan(a - b) else abs(a - b) / max(abs(a), abs(b)))
    return worst


def is_alike(ones: Iterable[Result], others: Iterable[Result]) -> bool:
    """Return whether results are the same in every bit but those of times and notes."""
    return [strip(one) for one in ones] == [strip(other) for other in others]


def strip(result: Result) -> Result:
    """Return a result without what is no number of the run: its times, notes and machine."""
    curve = replace(result.curve, elapsed_s=())
    return replace(result, train_s=0.0, eval_s=0.0, started_at="", notes=(), curve=curve)
