"""What a step takes: its time, where that goes, and what the device could do."""

from __future__ import annotations

from collections.abc import Sequence

from bench.report.breakdown_tables import tabulate_breakdown, tabulate_compiling
from bench.report.chapter import Block, Heading, Note, Notes, Text
from bench.report.look import assign_looks
from bench.report.metered import explain_absence, find_metered, list_notes
from bench.report.plot.bars import name_left_out
from bench.report.plot.speed import draw_speed
from bench.report.speed_tables import tabulate_timing
from bench.report.sweep import Sweep

TITLE = "Speed"


def show(sweep: Sweep) -> Sequence[Block] | str:
    """Return the tables of step times over all arenas, and a figure for each place where cells compare."""
    rows = find_metered(sweep)
    if not any(row.cost is not None and row.cost.status == "finished" for row in rows):
        return explain_absence(sweep)
    blocks: list[Block] = [tabulate_timing(rows), *draw_speed(rows, assign_looks(sweep))]
    left_out = name_left_out([row for row in rows if row.timed])
    blocks += [] if left_out is None else [Text(text=left_out)]
    if not any(row.timed for row in rows):
        blocks.append(
            Text(text="Nothing is said of speed: no precision of this sweep has hardware support here.")
        )
    for table in (tabulate_breakdown(rows), tabulate_compiling(rows)):
        blocks += [] if table is None else [table]
    notes = list_notes(rows)
    if notes:
        blocks += [
            Heading(text="What the meter noted"),
            Notes(items=tuple(Note(text=note) for note in notes)),
        ]
    return blocks
