"""The door for Python programs: your own module and tensors, the same search, seeds and report."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import hydra
import msgspec
import pandas as pd
import torch
from torch import Tensor, nn

from bench import held, runner
from bench.command import expand, name_sweep
from bench.configuration import VERSION, config_folder, read_studies
from bench.data.dataset import DataSet
from bench.effort import LrRange, OptimizerSearch
from bench.errors import SpecError
from bench.report.build import build, read_block
from bench.spec import Data, Model, Optimizer, Study, Workload


@dataclass(frozen=True)
class Comparison:
    """What `compare` leaves."""

    # One row per optimizer: losses, interval, verdict, lr, cost; units are in the column names.
    results: pd.DataFrame
    # One row per evaluation run.
    runs: pd.DataFrame
    # The terminal block.
    summary: str
    # With report.html, every table as CSV and every figure.
    folder: Path


def compare(
    model: nn.Module | Callable[[], nn.Module],
    data: tuple[Tensor, Tensor] | DataSet,
    optimizers: Sequence[str | type[torch.optim.Optimizer]],
    *,
    name: str = "mine",
    steps: int = 300,
    batch_size: int = 64,
    margin: float = 0.01,
    val_share: float = 0.2,
    overrides: Sequence[str] = (),
    say: Callable[[str], None] | None = None,
) -> Comparison:
    """Compare optimizers on a module and tensors of your own.

    Args:
        model: A module, whose weights are drawn anew for each seed; or a class or function that makes one.
        data: Inputs `(num_items, ...)` and targets: `(num_items,)` whole numbers for classification
            (cross-entropy), floats `(num_items,)` or `(num_items, num_outputs)` for regression
            (squared error). Or a `bench.data.dataset.DataSet` of your own, whose batches may be dicts.
        optimizers: Names that `python -m bench --help` lists, or importable `torch.optim.Optimizer` classes.
        name: What the report calls the task.
        steps: Optimizer steps of each run.
        batch_size: Rows a step.
        margin: Two optimizers closer than this log-ratio of final losses are tied.
        val_share: Share of tensors that is held out, and split again into items that choose settings and
            items that are reported.
        overrides: As on the command line: `["seeds=10", "search=none", "place.results=elsewhere"]`.
        say: Shows progress; None: on standard error.

    Returns:
        Tables as data frames, and the folder that holds the report.

    Raises:
        BenchError: Something can't start; one line says what.
    """
    rows = data if isinstance(data, DataSet) else held.split(data, val_share)
    key = f"{rows.sha256[:16]}-{val_share:g}"
    held.data_sets[key] = rows
    make = held.make_again(model) if isinstance(model, nn.Module) else model
    model_key = held.digest_model(make)
    held.models[model_key] = make
    studies = [_make_study(optimizer, overrides) for optimizer in optimizers]
    workload = Workload(
        name=name, version=1, steps=steps, short_steps=max(1, steps // 4), batch_size=batch_size,
        lr={}, effect="log_ratio", margin=margin,
    )  # fmt: skip
    parts = {
        "workload": workload,
        "is_workload_modified": False,
        "data": Data(
            target="bench.held.hold_data", name=name, version="1", licence="yours",
            sha256=rows.sha256, item=rows.item, args={"key": key},
        ),
        "model": Model(
            target="bench.held.HeldModel",
            name=getattr(model, "__name__", type(model).__name__),
            args={"key": model_key},
        ),
    }  # fmt: skip
    asked = [
        msgspec.structs.replace(
            study, **parts, budget=msgspec.structs.replace(study.budget, steps=steps, batch_size=batch_size)
        )
        for study in studies
    ]
    labels = [study.optimizer.name for study in asked]
    sweep = runner.Sweep(
        studies=tuple(asked),
        name=name_sweep(
            [
                f"name={name}",
                f"optimizer={','.join(labels)}",
                f"model.key={model_key}",
                f"data.key={key}",
                f"budget.steps={steps}",
                f"budget.batch_size={batch_size}",
                *overrides,
            ]
        ),
        command=f"bench.compare(..., name={name!r}, optimizers={labels})",
    )  # fmt: skip
    ended = runner.run(sweep, say or _say, _draw)
    _draw(ended.folder, asked[0])
    return Comparison(
        results=_read_tables(ended.folder, "results_"),
        runs=pd.read_csv(ended.folder / "tables" / "runs.csv"),
        summary=read_block(ended.folder),
        folder=ended.folder,
    )


def _make_study(optimizer: str | type[torch.optim.Optimizer], overrides: Sequence[str]) -> Study:
    chosen = f"optimizer={optimizer}" if isinstance(optimizer, str) else "optimizer=adamw"
    with hydra.initialize_config_dir(str(config_folder()), **VERSION):
        composed = hydra.compose("config", overrides=[chosen, *expand(overrides)])
        study = read_studies(composed, "photo_mlp")[0]
    if isinstance(optimizer, str):
        return study
    if "<locals>" in optimizer.__qualname__:
        raise SpecError(
            f"optimizers: {optimizer.__qualname__} is defined inside a function: move it to a module"
        )
    accepted = inspect.signature(optimizer).parameters
    default = getattr(accepted.get("lr"), "default", 1e-3)
    lr = default if isinstance(default, float) and default > 0 else 1e-3
    spec = Optimizer(
        target=f"{optimizer.__module__}.{optimizer.__qualname__}",
        name=optimizer.__name__.lower(),
        lr="auto",
        search=OptimizerSearch(
            lr=LrRange(
                default=lr,
                low=lr / 100,
                high=lr * 100,
                source="two decades either side of the class's default",
            )
        ),
    )
    return msgspec.structs.replace(study, optimizer=spec)


def _read_tables(folder: Path, prefix: str) -> pd.DataFrame:
    return pd.concat([pd.read_csv(path) for path in sorted((folder / "tables").glob(f"{prefix}*.csv"))])


def _draw(folder: Path, study: Study) -> None:
    build(folder, study.report.sections, study.report.reference)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
