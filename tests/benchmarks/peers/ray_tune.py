"""A grid search with Ray Tune: two trials at a time, each a process of its own unless they are reused."""

from __future__ import annotations

import os
import sys
import tempfile
from typing import Any

import ray
from ray import tune

from tests.benchmarks.peers.typical import train


def trial(config: dict[str, Any]) -> None:
    """Train one setting and report it."""
    tune.report({"val_loss": train(config["optimizer"], config["lr"], config["seed"])})


def main(optimizers: str, lrs: str, seeds: str, workers: str, reuse: str) -> None:
    """Run a grid; lists are separated by commas."""
    with tempfile.TemporaryDirectory() as folder:
        handed = {name: os.environ[name] for name in ("PEERS_TASK", "PEERS_LOG", "PYTHONPATH")}
        ray.init(
            num_cpus=int(workers),
            include_dashboard=False,
            log_to_driver=False,
            runtime_env={"env_vars": handed | {"OMP_NUM_THREADS": "1"}},
        )
        space = {
            "optimizer": tune.grid_search(optimizers.split(",")),
            "lr": tune.grid_search([float(lr) for lr in lrs.split(",")]),
            "seed": tune.grid_search([int(seed) for seed in seeds.split(",")]),
        }
        tuner = tune.Tuner(
            tune.with_resources(trial, {"cpu": 1}),
            param_space=space,
            tune_config=tune.TuneConfig(metric="val_loss", mode="min", reuse_actors=reuse == "reuse"),
            run_config=tune.RunConfig(storage_path=folder, verbose=0),
        )
        print(tuner.fit().get_best_result().config)


if __name__ == "__main__":
    main(*sys.argv[1:])
