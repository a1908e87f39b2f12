"""Compose a study the way the door does, without a process of its own."""

from __future__ import annotations

import hydra

from bench.cli import config_folder, read_study
from bench.spec import Run, Study
from bench.study import resolve


def compose_study(*overrides: str, workload: str = "photo_mlp") -> Study:
    with hydra.initialize_config_dir(str(config_folder()), version_base="1.3"):
        return read_study(hydra.compose("config", overrides=[f"workload={workload}", *overrides]), workload)


def compose_run(*overrides: str, workload: str = "photo_mlp", seed: int = 0) -> Run:
    return resolve(compose_study(*overrides, workload=workload), seed, "cpu")
