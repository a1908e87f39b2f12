"""What was tried before anything was compared: the search space may explain a whole ranking."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from bench.report.chapter import Block, Heading, Text
from bench.report.escape import slug
from bench.report.plot.budget import trace_budget
from bench.report.plot.ranges import find_distance
from bench.report.sweep import Arena, Cell, Sweep
from bench.report.tables import Column, Table
from bench.report.tuning import (
    compare,
    describe_sampler,
    describe_space,
    find_chosen,
    find_default,
    find_initial_loss,
    format_lr,
    has_lr_curve,
    list_curve,
    list_settings,
    measure_optimism,
)
from bench.stats import lr_sensitivity, usable_lr_width

TITLE = "Tuning"


def show(sweep: Sweep) -> Sequence[Block] | str:
    """Return one table per arena that was searched."""
    blocks: list[Block] = []
    for arena in sweep.arenas:
        if any(cell.search is not None for cell in arena.cells):
            blocks += [Heading(text=arena.name), Text(text=_judge_ranges(arena)), _tabulate(arena)]
    return blocks or "No setting was searched in this sweep (search=none): every claim says untuned."


def _judge_ranges(arena: Arena) -> str:
    """Return whether the ranges searched were wide enough."""
    cells = [cell for cell in arena.cells if cell.search is not None and cell.search.best is not None]
    if not cells:
        return "No search found a setting."
    edges = [f"{cell.label} ({cell.search.edge} end)" for cell in cells if cell.search and cell.search.edge]
    if not edges:
        return "Wide enough: no best lr lies on the edge of what was tried."
    return f"Not wide enough: the best lr lies on the edge of what was tried for {', '.join(edges)}."


def _tabulate(arena: Arena) -> Table:
    rows = [_measure(arena, cell) for cell in arena.cells]
    unit = " (%)" if arena.study.workload.effect == "log_ratio" else ""

    def column(header: str, key: str, style: Any = "text") -> Column:
        return Column(header=header, cells=tuple(row[key] for row in rows), style=style)

    is_tested = any(row["range_test_decades"] is not None for row in rows)
    longest = max((row["num_settings"] for row in rows), default=0)
    return Table(
        name=f"tuning_{slug(arena.name)}",
        title=f"{arena.name}: what was tried",
        columns=(
            column("optimizer", "optimizer"),
            column("space", "space"),
            column("tried / failed", "tried"),
            column("sampler", "sampler"),
            column("best lr", "best_lr"),
            *([column("range test (decades off)", "range_test_shown")] if is_tested else []),
            column("lr width (decades)", "lr_width_shown", "general"),
            column(f"lr sensitivity ↓{unit}", "lr_sensitivity_shown", "general"),
            column("loss at k = 1 ↓", "loss_at_1", "fixed"),
            column("k = 4", "loss_at_4", "fixed"),
            column("k = all", "loss_at_all", "fixed"),
            column(f"default vs best ↓{unit}", "default_shown", "general"),
            column(f"optimism{unit}", "optimism_shown", "general"),
        ),
        data=pd.DataFrame(rows).drop(
            columns=["tried", "best_lr", *(key for key in rows[0] if key.endswith("_shown"))]
        ),
        marked=tuple(index for index, cell in enumerate(arena.cells) if cell is arena.reference),
        note="All losses here are on search items, which no reported validation loss uses. !: the best lr "
        "lies on the edge of what was tried. lr width: decades around the best lr within 1 % of its loss. "
        "lr sensitivity: mean excess loss within a decade either way of the best lr. Loss at k: expected "
        f"best of k settings of the first pass (all: up to {longest}); adaptive samplers: best of the first "
        "k as observed. Default vs best: loss at the declared default lr over the best, both of the first "
        "pass. Optimism: mean loss of the chosen setting over its search seeds less its mean over fresh "
        "evaluation seeds, on the same search items: below 0, the search flattered its winner."
        + " Range test: log10 of the lr it suggested over the best."
        * is_tested,
    )


def _measure(arena: Arena, cell: Cell) -> dict[str, Any]:
    settings = list_settings(cell)
    num_failed = sum(setting.loss is None for setting in settings)
    line = dict(trace_budget(arena, cell))
    chosen, default, optimism = find_chosen(cell), find_default(cell), measure_optimism(cell)
    points = list_curve(cell) if has_lr_curve(cell) else []
    width, sensitivity = usable_lr_width(points), lr_sensitivity(points, worst=find_initial_loss(arena))
    distance = find_distance(cell)
    best = min((loss for _, loss in points if loss is not None), default=None)
    excess = (
        compare(arena, best + sensitivity, best) if sensitivity is not None and best is not None else None
    )
    return {
        "arena": arena.name,
        "optimizer": cell.label,
        "space": describe_space(cell.search.space) if cell.search else None,
        "tried": f"{len(settings)} / {num_failed}" if cell.search else None,
        "num_settings": len(settings),
        "num_failed": num_failed,
        "num_widened": cell.search.num_widened if cell.search else None,
        "is_final": cell.search.is_final if cell.search else None,
        "sampler": describe_sampler(cell),
        "best_lr": format_lr(cell) if chosen is not None else None,
        "lr": cell.lr,
        "range_test_decades": distance,
        "range_test_shown": None if distance is None else f"{distance:+.2f}",
        "edge": cell.search.edge if cell.search else None,
        "lr_width_decades": width,
        "lr_sensitivity": sensitivity,
        "lr_width_shown": None if width is None else f"{width:.2f}",
        "lr_sensitivity_shown": _format_excess(arena, excess),
        "loss_at_1": line.get(1),
        "loss_at_4": line.get(4),
        "loss_at_all": line[max(line)] if line else None,
        "default_first_pass_loss": default[0] if default else None,
        "best_first_pass_loss": default[1] if default else None,
        "default_shown": _format_excess(arena, compare(arena, *default) if default else None),
        "winner_search_loss": optimism[0] if optimism else None,
        "winner_fresh_loss": optimism[1] if optimism else None,
        "optimism_shown": _format_excess(arena, compare(arena, *optimism) if optimism else None),
    }


def _format_excess(arena: Arena, value: float | None) -> str | None:
    if value is None:
        return None
    return f"{value:+.1f}" if arena.study.workload.effect == "log_ratio" else f"{value:+.2g}"
