"""What a step holds in memory, measured beside predicted."""

from __future__ import annotations

from collections.abc import Sequence

from bench.report.alone import name_some
from bench.report.chapter import Block, Note, Notes, Text
from bench.report.look import assign_looks
from bench.report.memory_tables import choose_unit, has_memory, tabulate_memory
from bench.report.metered import explain_absence, find_metered
from bench.report.plot.bars import name_left_out
from bench.report.plot.memory import draw_memory
from bench.report.sweep import Sweep

TITLE = "Memory"
# More arenas than these are what the table is for.
_MAX_SENTENCES = 6


def show(sweep: Sweep) -> Sequence[Block] | str:
    """Return the table of all arenas, and a figure for each place where cells compare."""
    rows = [row for row in find_metered(sweep) if has_memory(row)]
    if not rows:
        return explain_absence(sweep)
    left_out = name_left_out(rows)
    rest = [] if left_out is None else [Text(text=left_out)]
    said = _name_cheapest(sweep)
    cheapest = [Notes(items=tuple(Note(text=each) for each in said))] if said else []
    return [*cheapest, tabulate_memory(rows), *draw_memory(rows, assign_looks(sweep)), *rest]


def _name_cheapest(sweep: Sweep) -> list[str]:
    """Return which optimizers of each arena need least at their peak, where there is a choice."""
    said = []
    for arena in sweep.arenas:
        peaks = {
            cell.label: cell.cost.peak_bytes for cell in arena.cells if cell.cost and cell.cost.peak_bytes
        }
        if len(peaks) < 2:
            continue
        least, most = min(peaks.values()), max(peaks.values())
        names = [label for label, peak in peaks.items() if peak == least]
        unit, size = choose_unit(list(peaks.values()))
        who = "all alike" if least == most else name_some(names)
        upto = "" if least == most else f"; at most {most / size:.3g}"
        said.append(f"Cheapest at its peak on {arena.name}: {who} ({least / size:.3g} {unit}{upto}).")
    rest = len(said) - _MAX_SENTENCES
    return [*said[:_MAX_SENTENCES], *([f"{rest} more arenas are in the table."] if rest > 0 else [])]
