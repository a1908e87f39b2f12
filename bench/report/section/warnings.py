"""Every reason to doubt the numbers, before any figure."""

from __future__ import annotations

from collections.abc import Sequence

from bench.report.chapter import Block, Note, Notes, Text
from bench.report.concern import find_concerns, find_not_run
from bench.report.sweep import Sweep

TITLE = "Warnings"


def show(sweep: Sweep) -> Sequence[Block] | str:
    """Return all warnings, most important first; "None" is said, not implied."""
    concerns = (*find_concerns(sweep), *find_not_run(sweep))
    if not concerns:
        return [Text(text="None.")]
    return [Notes(items=tuple(Note(text=each.text, command=each.command) for each in concerns))]
