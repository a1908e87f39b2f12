"""What a step costs: time, throughput and memory, measured alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from bench.report.alone import ALONE, split_alone
from bench.report.chapter import Block, Figure, Heading
from bench.report.escape import slug
from bench.report.plot.memory import MIB, draw_memory, draw_memory_alone, split_memory
from bench.report.sweep import Arena, Cell, Sweep
from bench.report.tables import Column, Table, scale_count
from bench.result import Cost

TITLE = "Speed and memory"
_CLOCKS = {
    "wall": "wall time",
    "thread_cpu": "CPU time of the computing thread, which other processes can't lengthen",
    "cuda_event": "CUDA events, on the device's own clock",
}
_PEAKS = {
    "cuda_allocator": "CUDA's allocator",
    "cpu_allocator_events": "every allocation torch made on the CPU",
}
_CAVEAT = "A cheaper step is not a faster optimizer: that needs the loss it reaches beside it."


@dataclass(frozen=True, kw_only=True)
class _Row:
    arena: Arena
    cell: Cell
    cost: Cost


def show(sweep: Sweep) -> Sequence[Block] | str:
    """Return one table and one figure per arena that was metered.

    Arenas in which one optimizer ran alone share both.
    """
    apart, alone = split_alone(sweep)
    blocks: list[Block] = []
    for arena in apart:
        rows = _find_metered([arena])
        if rows:
            reference = arena.reference.cost
            table = _tabulate(rows, reference.step_mean_s if reference is not None else None)
            blocks += [Heading(text=arena.name), table, *_list_figure(draw_memory(arena))]
    rows = _find_metered(alone)
    if rows:
        blocks += [Heading(text=ALONE), _tabulate_alone(rows), *_list_figure(draw_memory_alone(alone))]
    return blocks or "No step was metered in this sweep (meter=none, or nothing could be measured)."


def _find_metered(arenas: Sequence[Arena]) -> list[_Row]:
    return [
        _Row(arena=arena, cell=cell, cost=cell.cost)
        for arena in arenas
        for cell in arena.cells
        if cell.cost is not None
    ]


def _list_figure(figure: Figure | None) -> list[Block]:
    return [] if figure is None else [figure]


def _tabulate(rows: Sequence[_Row], base: float | None) -> Table:
    """Return an arena's table, the times compared with a mean step time in seconds."""
    arena = rows[0].arena
    costs = [row.cost for row in rows]
    ratios = tuple(cost.step_mean_s / base if cost.step_mean_s and base else None for cost in costs)
    times, rest = _list_measures(rows)
    return Table(
        name=f"cost_{slug(arena.name)}",
        title=f"{arena.name}: one step",
        columns=(
            Column(header="optimizer", cells=tuple(row.cell.label for row in rows)),
            *times,
            Column(header=f"time / {arena.reference.label}", cells=ratios, style="fixed"),
            *rest,
        ),
        data=_collect(rows),
        marked=tuple(index for index, row in enumerate(rows) if row.cell is arena.reference),
        note=f"{_describe_method(costs)} {_CAVEAT}",
    )


def _tabulate_alone(rows: Sequence[_Row]) -> Table:
    times, rest = _list_measures(rows)
    return Table(
        name="cost_alone",
        title=f"{len(rows)} arenas with one optimizer each: one step",
        columns=(
            Column(header="arena", cells=tuple(row.arena.name for row in rows)),
            Column(header="optimizer", cells=tuple(row.cell.label for row in rows)),
            *times,
            *rest,
        ),
        data=_collect(rows),
        note=_describe_method([row.cost for row in rows]),
    )


def _list_measures(rows: Sequence[_Row]) -> tuple[list[Column], list[Column]]:
    """Return the columns of step times, and those of throughput and memory."""
    costs = [row.cost for row in rows]
    pieces = [split_memory(row.cell) or {} for row in rows]
    items = dict.fromkeys(row.arena.study.data.item for row in rows)
    # Pixels beside images are items.
    item = next(iter(items)) if len(items) == 1 else "item"
    rate_unit, rates = scale_count([cost.items_per_s for cost in costs], f"{item}s/s")

    def fixed(header: str, values: Sequence[float | None], factor: float = 1.0) -> Column:
        cells = tuple(None if value is None else value * factor for value in values)
        return Column(header=header, cells=cells, style="fixed")

    def mib(header: str, key: str) -> Column:
        return fixed(f"{header} (MiB)", [each.get(key) for each in pieces], 1 / MIB)

    return [
        fixed("step mean (ms) ↓", [cost.step_mean_s for cost in costs], 1e3),
        fixed("p50 (ms)", [cost.step_p50_s for cost in costs], 1e3),
        fixed("p99 (ms)", [cost.step_p99_s for cost in costs], 1e3),
    ], [
        fixed(f"{rate_unit} ↑", rates),
        fixed("peak (MiB) ↓", [cost.peak_bytes for cost in costs], 1 / MIB),
        mib("params", "params_bytes"),
        mib("grads", "grads_bytes"),
        mib("state", "state_bytes"),
        mib("act. + other", "other_bytes"),
    ]


def _describe_method(costs: Sequence[Cost]) -> str:
    clocks = dict.fromkeys(_CLOCKS[cost.clock] for cost in costs if cost.clock)
    peaks = dict.fromkeys(_PEAKS[cost.peak_source] for cost in costs if cost.peak_source)
    steps = sorted({cost.num_steps for cost in costs if cost.status == "finished"})
    parts = [
        f"Mean over {' or '.join(map(str, steps))} steps, measured apart from the training runs."
        if steps
        else "",
        f"Clock: {'; '.join(clocks)}." if clocks else "",
        f"Peak memory: {'; '.join(peaks)}." if peaks else "",
    ]
    return " ".join(part for part in parts if part)


def _collect(rows: Sequence[_Row]) -> pd.DataFrame:
    fields = (
        "status",
        "detail",
        "num_steps",
        "step_mean_s",
        "step_p50_s",
        "step_p99_s",
        "items_per_s",
        "clock",
        "num_params",
        "params_bytes",
        "grads_bytes",
        "state_bytes",
        "peak_bytes",
        "peak_source",
    )
    return pd.DataFrame(
        [
            {
                "arena": row.arena.name,
                "optimizer": row.cell.label,
                **{field: getattr(row.cost, field) for field in fields},
            }
            for row in rows
        ]
    )
