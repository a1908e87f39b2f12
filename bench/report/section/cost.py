"""What a step costs: time, throughput and memory, measured alone."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from bench.report.chapter import Block, Heading
from bench.report.escape import slug
from bench.report.plot.memory import MIB, draw_memory, split_memory
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


def show(sweep: Sweep) -> Sequence[Block] | str:
    """Return one table and one figure per arena that was metered."""
    blocks: list[Block] = []
    for arena in sweep.arenas:
        metered = [(cell, cell.cost) for cell in arena.cells if cell.cost is not None]
        if not metered:
            continue
        blocks += [Heading(text=arena.name), _tabulate(arena, metered)]
        figure = draw_memory(arena)
        if figure is not None:
            blocks.append(figure)
    return blocks or "No step was metered in this sweep (meter=none, or nothing could be measured)."


def _tabulate(arena: Arena, metered: Sequence[tuple[Cell, Cost]]) -> Table:
    reference = arena.reference.cost
    base = reference.step_mean_s if reference is not None else None
    costs = [cost for _, cost in metered]
    pieces = [split_memory(cell) or {} for cell, _ in metered]
    rate_unit, rates = scale_count([cost.items_per_s for cost in costs], f"{arena.study.data.item}s/s")

    def scaled(values: Sequence[float | None], factor: float) -> tuple[float | None, ...]:
        return tuple(None if value is None else value * factor for value in values)

    def mib(key: str) -> Column:
        header = {
            "params_bytes": "params",
            "grads_bytes": "grads",
            "state_bytes": "state",
            "other_bytes": "act. + other",
        }
        return Column(
            header=f"{header[key]} (MiB)",
            cells=scaled([each.get(key) for each in pieces], 1 / MIB),
            style="fixed",
        )

    ratios = tuple(cost.step_mean_s / base if cost.step_mean_s and base else None for cost in costs)
    return Table(
        name=f"cost_{slug(arena.name)}",
        title=f"{arena.name}: one step",
        columns=(
            Column(header="optimizer", cells=tuple(cell.label for cell, _ in metered)),
            Column(
                header="step mean (ms) ↓",
                cells=scaled([cost.step_mean_s for cost in costs], 1e3),
                style="fixed",
            ),
            Column(header="p50 (ms)", cells=scaled([cost.step_p50_s for cost in costs], 1e3), style="fixed"),
            Column(header="p99 (ms)", cells=scaled([cost.step_p99_s for cost in costs], 1e3), style="fixed"),
            Column(header=f"time / {arena.reference.label}", cells=ratios, style="fixed"),
            Column(header=f"{rate_unit} ↑", cells=tuple(rates), style="fixed"),
            Column(
                header="peak (MiB) ↓",
                cells=scaled([cost.peak_bytes for cost in costs], 1 / MIB),
                style="fixed",
            ),
            *(mib(key) for key in ("params_bytes", "grads_bytes", "state_bytes", "other_bytes")),
        ),
        data=_collect(arena, metered),
        marked=tuple(index for index, (cell, _) in enumerate(metered) if cell is arena.reference),
        note=_describe_method(costs),
    )


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
        "A cheaper step is not a faster optimizer: that needs the loss it reaches beside it.",
    ]
    return " ".join(part for part in parts if part)


def _collect(arena: Arena, metered: Sequence[tuple[Cell, Cost]]) -> pd.DataFrame:
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
                "arena": arena.name,
                "optimizer": cell.label,
                **{field: getattr(cost, field) for field in fields},
            }
            for cell, cost in metered
        ]
    )
