"""Compose a study the way the door does, without a process of its own."""

from __future__ import annotations

import hydra

from bench.command import expand
from bench.configuration import VERSION, config_folder, read_studies
from bench.resolve import resolve
from bench.spec import Run, Study


def compose_studies(*overrides: str, workload: str = "photo_mlp") -> list[Study]:
    with hydra.initialize_config_dir(str(config_folder()), **VERSION):
        composed = hydra.compose("config", overrides=[f"workload={workload}", *expand(overrides)])
        return read_studies(composed, workload)


def compose_study(*overrides: str, workload: str = "photo_mlp") -> Study:
    return compose_studies(*overrides, workload=workload)[0]


def compose_run(*overrides: str, workload: str = "photo_mlp", seed: int = 0) -> Run:
    return resolve(compose_study(*overrides, workload=workload), seed, "cpu")
