"""What each workload can tell: its noise over seeds, and which gap shows above it."""

from __future__ import annotations

from collections.abc import Sequence

from bench.report.chapter import Block, Note, Notes
from bench.report.concern import find_not_run
from bench.report.noise_table import tabulate_noise
from bench.report.sweep import Sweep

TITLE = "What each workload can tell"


def show(sweep: Sweep) -> Sequence[Block] | str:
    """Return one row for each arena, and a line for each that could not run."""
    arenas = [arena for arena in sweep.arenas if arena.obstacle is None]
    not_run = tuple(Note(text=each.text) for each in find_not_run(sweep))
    if not arenas and not not_run:
        return "This sweep holds no readable study."
    blocks: list[Block] = [tabulate_noise(arenas)] if arenas else []
    return [*blocks, Notes(items=not_run)] if not_run else blocks
