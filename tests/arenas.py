"""Sweeps of several arenas, one a task, for what the report says across them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from bench.spec import Study
from tests.sweeps import make_study, write_sweep

REFERENCE = [0.0100, 0.0102, 0.0103]
BETTER = [0.0090, 0.0091, 0.0093]
WORSE = [0.0190, 0.0191, 0.0193]
TIED = [0.0101, 0.01025, 0.0103]

Ends = Sequence[float | str]


def move(study: Study, task: str, effect: str = "log_ratio") -> Study:
    """Return a study on another workload, which trains on data of its own."""
    workload = msgspec.structs.replace(study.workload, name=task, effect=effect)
    return msgspec.structs.replace(
        study, workload=workload, data=msgspec.structs.replace(study.data, sha256=task)
    )


def write_arenas(
    root: Path, tasks: Sequence[Mapping[str, Ends]], effects: Mapping[int, str] | None = None
) -> Path:
    """Write a sweep with one arena per mapping of optimizer to ends."""
    cells = [
        (move(make_study(name), f"task{number}", (effects or {}).get(number, "log_ratio")), ends)
        for number, task in enumerate(tasks)
        for name, ends in task.items()
    ]
    return write_sweep(root / "results", cells)
