"""The tables: who reached which loss, how sure that is, and at what price."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from bench.report.chapter import Block, Heading
from bench.report.comparison import make_rows, tabulate
from bench.report.look import assign_looks
from bench.report.plot.forest import draw_forest
from bench.report.sweep import Arena, Sweep
from bench.report.tables import Column, Table, scale_count

TITLE = "Results"
# What a row that is compared with nothing leaves empty.
_OF_COMPARISON = ("vs ", "verdict")


def show(sweep: Sweep) -> Sequence[Block] | str:
    """Return one table per arena, and its differences as a figure where there are any.

    Arenas in which one optimizer ran alone share a table: each would fill one with a single row.
    """
    looks = assign_looks(sweep)
    alone = [arena for arena in sweep.arenas if len(arena.cells) == 1]
    if len(alone) < 2:
        alone = []
    blocks: list[Block] = []
    for arena in sweep.arenas:
        if arena in alone:
            continue
        blocks += [Heading(text=arena.name), tabulate(arena)]
        figure = draw_forest(arena, looks)
        if figure is not None:
            blocks.append(figure)
    if alone:
        blocks += [Heading(text="Arenas in which one optimizer ran alone"), _tabulate_alone(alone)]
    return blocks or "This sweep holds no readable study."


def _tabulate_alone(arenas: Sequence[Arena]) -> Table:
    tables = [tabulate(arena) for arena in arenas]
    found = [{column.header: column for column in table.columns} for table in tables]
    rate, rates = scale_count([make_rows(arena)[0].items_per_s for arena in arenas], "items/s")
    columns = [Column(header="arena", cells=tuple(arena.name for arena in arenas))]
    for header in dict.fromkeys(header for each in found for header in each):
        if header.startswith(_OF_COMPARISON) or header.endswith("/s ↑"):
            # Every arena's table chose its own number word; here one has to do.
            if header.endswith("/s ↑") and not any(column.header.startswith(rate) for column in columns):
                columns.append(Column(header=f"{rate} ↑", cells=tuple(rates), style="fixed"))
            continue
        style = next(each[header].style for each in found if header in each)
        cells = tuple(each[header].cells[0] if header in each else None for each in found)
        columns.append(Column(header=header, cells=cells, style=style))
    return Table(
        name="results_alone",
        title=f"{len(arenas)} arenas with one optimizer each",
        columns=tuple(columns),
        data=pd.concat([table.data for table in tables], ignore_index=True),
        note="sd: over seeds. Nothing is compared here: between arenas more than the optimizer differs. What "
        "each setting does is under What each setting buys.",
    )
