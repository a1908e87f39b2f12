"""What the curves of each cell say of its trainings, and which command would answer it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from bench.diagnosis.rules import diagnose
from bench.health import Diagnosis, Kind
from bench.report.decay import set_key
from bench.report.shipped import default_health
from bench.report.sweep import Arena, Cell, Sweep

# What nobody has to look at.
_WELL: frozenset[Kind] = frozenset({"healthy", "unclear"})


class Finding(NamedTuple):
    """What ails a cell: the diagnosis that most of its ill runs share, as the first of them shows it."""

    arena: Arena
    cell: Cell
    diagnosis: Diagnosis
    seed: int
    # Runs by diagnosis, the most frequent first.
    counts: dict[Kind, int]


def find_ill(sweep: Sweep) -> Iterator[Finding]:
    """Yield the cells of which a curve says something, in the order of the arenas."""
    for arena in sweep.arenas:
        for cell in arena.all_cells:
            finding = _judge(arena, cell)
            if finding is not None:
                yield finding


def count_healthy(sweep: Sweep) -> tuple[int, int]:
    """Return how many runs are healthy, and how many have a curve that can be judged."""
    kinds = [
        diagnosis.kind for arena in sweep.arenas for cell in arena.all_cells for _, diagnosis in _list(cell)
    ]
    return kinds.count("healthy"), len(kinds) - kinds.count("unclear")


def write_command(sweep: Sweep, finding: Finding) -> str | None:
    """Return the sweep's own command for one cell with what the diagnosis would change; None: nothing."""
    overrides = finding.diagnosis.overrides
    if not overrides:
        return None
    study = finding.cell.study
    command = set_key(sweep.manifest.command, "optimizer", study.optimizer.name)
    for key, value in (("workload", study.workload.name), ("optimizer.lr", study.optimizer.lr)):
        # Of what the sweep lists, the one that the cell has.
        if re.search(rf"(?<=\s){re.escape(key)}=\S*,", command):
            command = set_key(command, key, str(value))
    if "optimizer.lr" in overrides and study.search.name != "none":
        # A number for the lr leaves a search of it nothing to do.
        command = set_key(command, "search", "none")
    for key, value in overrides.items():
        command = set_key(command, key, value)
    return command


def _judge(arena: Arena, cell: Cell) -> Finding | None:
    found = _list(cell)
    counts: Counter[Kind] = Counter(diagnosis.kind for _, diagnosis in found)
    ill = [kind for kind, _ in counts.most_common() if kind not in _WELL]
    if not ill:
        return None
    seed, diagnosis = next((seed, each) for seed, each in found if each.kind == ill[0])
    return Finding(arena, cell, diagnosis, seed, dict(counts.most_common()))


def _list(cell: Cell) -> list[tuple[int, Diagnosis]]:
    """Return seed and diagnosis of each run of a cell that has a result."""
    health = cell.study.report.health or default_health()
    ended = ((end.run.seed, end.result) for end in cell.ends if end.result is not None)
    return [(seed, diagnose(result, health, result.watch)) for seed, result in ended]
