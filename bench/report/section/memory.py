"""What a step holds in memory, measured beside predicted."""

from __future__ import annotations

from collections.abc import Sequence

from bench.report.chapter import Block, Text
from bench.report.look import assign_looks
from bench.report.memory_tables import has_memory, tabulate_memory
from bench.report.metered import explain_absence, find_metered
from bench.report.plot.bars import name_left_out
from bench.report.plot.memory import draw_memory
from bench.report.sweep import Sweep

TITLE = "Memory"


def show(sweep: Sweep) -> Sequence[Block] | str:
    """Return the table of all arenas, and a figure for each place where cells compare."""
    rows = [row for row in find_metered(sweep) if has_memory(row)]
    if not rows:
        return explain_absence(sweep)
    left_out = name_left_out(rows)
    rest = [] if left_out is None else [Text(text=left_out)]
    return [tabulate_memory(rows), *draw_memory(rows, assign_looks(sweep)), *rest]
