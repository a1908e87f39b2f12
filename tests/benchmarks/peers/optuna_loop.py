"""A grid search with Optuna: processes that share one study through a journal file."""

from __future__ import annotations

import multiprocessing
import sys
import tempfile
from collections.abc import Mapping, Sequence

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from tests.benchmarks.peers.typical import train


def work(path: str, grid: Mapping[str, Sequence[str | float | int]]) -> None:
    """Take trials until the grid is done."""

    def objective(trial: optuna.Trial) -> float:
        optimizer = trial.suggest_categorical("optimizer", grid["optimizer"])
        lr = trial.suggest_float("lr", min(grid["lr"]), max(grid["lr"]))
        seed = trial.suggest_int("seed", min(grid["seed"]), max(grid["seed"]))
        return train(str(optimizer), lr, seed)

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name="grid",
        storage=JournalStorage(JournalFileBackend(path)),
        sampler=optuna.samplers.GridSampler(grid, seed=0),
        load_if_exists=True,
    )
    # The sampler ends the loop; where both take the last setting, both runs count.
    study.optimize(objective)


def main(optimizers: str, lrs: str, seeds: str, workers: str) -> None:
    """Run a grid; lists are separated by commas."""
    grid: dict[str, list[str | float | int]] = {
        "optimizer": list(optimizers.split(",")),
        "lr": [float(lr) for lr in lrs.split(",")],
        "seed": [int(seed) for seed in seeds.split(",")],
    }
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/study.log"
        processes = [context.Process(target=work, args=(path, grid)) for _ in range(int(workers))]
        for process in processes:
            process.start()
        for process in processes:
            process.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
