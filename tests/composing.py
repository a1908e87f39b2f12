"""Compose a study the way the door does, without a process of its own."""

from __future__ import annotations

import functools

import hydra

from bench.command import expand
from bench.configuration import VERSION, config_folder, read_studies
from bench.resolve import resolve
from bench.spec import Run, Study


def compose_studies(*overrides: str, workload: str = "photo_mlp") -> list[Study]:
    return list(_compose(overrides, workload))


@functools.cache
def _compose(overrides: tuple[str, ...], workload: str) -> tuple[Study, ...]:
    # A study is frozen, so those who ask for the same one may share it: Hydra takes a tenth of a second.
    with hydra.initialize_config_dir(str(config_folder()), **VERSION):
        composed = hydra.compose("config", overrides=[f"workload={workload}", *expand(overrides)])
        return tuple(read_studies(composed, workload))


def compose_study(*overrides: str, workload: str = "photo_mlp") -> Study:
    return compose_studies(*overrides, workload=workload)[0]


def compose_run(*overrides: str, workload: str = "photo_mlp", seed: int = 0) -> Run:
    return resolve(compose_study(*overrides, workload=workload), seed, "cpu")
