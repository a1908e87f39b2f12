"""The tables: who reached which loss, how sure that is, and at what price."""

from __future__ import annotations

from collections.abc import Sequence

from bench.report.chapter import Block, Heading
from bench.report.comparison import tabulate
from bench.report.look import assign_looks
from bench.report.plot.forest import draw_forest
from bench.report.sweep import Sweep

TITLE = "Results"


def show(sweep: Sweep) -> Sequence[Block] | str:
    """Return one table per arena, and its differences as a figure where there are any."""
    looks = assign_looks(sweep)
    blocks: list[Block] = []
    for arena in sweep.arenas:
        blocks += [Heading(text=arena.name), tabulate(arena)]
        figure = draw_forest(arena, looks)
        if figure is not None:
            blocks.append(figure)
    return blocks or "This sweep holds no readable study."
