"""The noise of each workload as a table: for the page, for Markdown and for the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from bench.report.escape import measure, shorten
from bench.report.heading import MAX_COLUMNS, shorten_line
from bench.report.noise import SEEDS, TELLS, TIES, Noise, measure_noise
from bench.report.power import PAIR, format_gap, shower
from bench.report.sweep import Arena, finite
from bench.report.tables import Column, Table
from bench.stats import TELLING_GAP


def tabulate_noise(arenas: Sequence[Arena]) -> Table:
    """Return one row for each arena."""
    rows = [measure_noise(arena) for arena in arenas]
    labels = sorted({label for row in rows for label in row.losses})
    budgets = [row.arena.study.budget for row in rows]
    return Table(
        name="noise",
        title="What each workload can tell",
        columns=(
            Column(header="workload", cells=tuple(row.arena.name for row in rows)),
            Column(header="params", cells=tuple(_count(row.num_params) for row in rows)),
            Column(
                header="steps x batch", cells=tuple(f"{each.steps} x {each.batch_size}" for each in budgets)
            ),
            Column(header="s/run", cells=tuple(row.train_s for row in rows), style="general"),
            *(
                Column(header=label, cells=tuple(_show_losses(row.losses.get(label)) for row in rows))
                for label in labels
            ),
            Column(header=f"{SEEDS} seeds tell", cells=tuple(show_gap(row) for row in rows)),
            Column(header="d", cells=tuple(_show_pair(row) for row in rows)),
            Column(header="verdict", cells=tuple(row.verdict for row in rows)),
        ),
        data=pd.DataFrame([record for row in rows for record in _list_records(row)]),
        note=" ".join(explain_noise(rows)),
    )


def explain_noise(rows: Sequence[Noise]) -> list[str]:
    """Return how to read the table, point by point."""
    nums = sorted({len(cell.ends) for row in rows for cell in row.arena.cells if cell.is_complete})
    points = [
        "Optimizer columns: mean final validation loss +- its sd over "
        f"{' or '.join(map(str, nums)) or 'no'} seeds, at {_name_settings(rows)}.",
        f"An sd from {nums[0]} seeds is itself known to about {50 * math.sqrt(2 / (nums[0] - 1)):.0f} % only."
        if nums and nums[0] > 1
        else "An sd wants two seeds at least.",
        "s/run: median training time of a run here, which may have shared the machine: it is no measurement "
        "of speed.",
        f"{SEEDS} seeds tell: the smallest true difference between two optimizers that a two-sided paired t "
        "test at 5 % sees with 80 % power (exact, noncentral t), from the sd of their differences seed by "
        "seed (root mean square over the pairs).",
        f"d: the gap between {' and '.join(PAIR)} (or the two named) in pooled seed sds, on the scale of the "
        f"workload's effect. {TELLS}: d is {TELLING_GAP:g} or more, about what {SEEDS} seeds each see even "
        f"unpaired. {TIES}: d is smaller; a comparison that finds a winner there is to be doubted.",
    ]
    if any(row.pair_sd is not None and not row.is_paired for row in rows):
        names = ", ".join(row.arena.name for row in rows if row.pair_sd is not None and not row.is_paired)
        points.append(
            f"{names}: one optimizer only, so that the differences are taken to spread sqrt(2) times as far "
            "as its seeds."
        )
    return points


def _name_settings(rows: Sequence[Noise]) -> str:
    cells = [cell for row in rows for cell in row.arena.cells]
    is_own = all(cell.lr == cell.study.workload.lr.get(cell.study.optimizer.name) for cell in cells)
    return "the workload's own learning rate" if is_own else "the settings that each of them ran with"


def write_noise(arenas: Sequence[Arena], space: int) -> list[str]:
    """Return the table for the terminal: a header and one line for each arena, at most as many as fit."""
    rows = [measure_noise(arena) for arena in arenas]
    shown = rows if len(rows) < space else rows[: max(0, space - 2)]
    lines = _lay_out(shown, has_sds=True)
    if any(measure(line) > MAX_COLUMNS for line in lines):
        lines = _lay_out(shown, has_sds=False)
    more = [f"... {len(rows) - len(shown)} more in the report"] if len(shown) < len(rows) else []
    return [*(shorten_line(line) for line in lines), *more]


def _lay_out(rows: Sequence[Noise], *, has_sds: bool) -> list[str]:
    named = [row.pair or tuple(row.losses)[:1] for row in rows]
    # Two names for all rows stand in the header, else beside each number.
    shared = named[0] if len(set(named)) == 1 else ()
    heads = [f"{shorten(label, 9)}: val loss" for label in shared] or ["val loss", ""]
    width = len(heads)
    lines = [["workload", "s/run", *heads, f"{SEEDS} seeds tell", "d", "says"]]
    for row, labels in zip(rows, named, strict=True):
        sides = [""] * width
        for index, label in enumerate(labels):
            mean, _, sd = (_show_losses(row.losses[label]) or "-").partition(" +- ")
            name = "" if shared else f"{shorten(label, 9)} "
            sides[index] = name + mean + (f" +- {sd}" if sd and has_sds else "")
        lines.append(
            [
                shorten(row.arena.name, 18),
                "-" if row.train_s is None else f"{row.train_s:.2g}",
                *sides,
                show_gap(row) or "-",
                "-" if row.standardised is None else format_gap(row.standardised).replace("over ", ">"),
                (row.verdict or "-").partition(":")[0],
            ]
        )
    widths = [max(measure(line[column]) for line in lines) for column in range(len(lines[0]))]
    return [
        "  ".join(
            cell + " " * (each - measure(cell)) for cell, each in zip(line, widths, strict=True)
        ).rstrip()
        for line in lines
    ]


def show_gap(row: Noise) -> str | None:
    """Return the smallest gap that SEEDS seeds tell, as shown."""
    return None if row.gap is None else shower(row.arena)(row.gap)


def _show_losses(losses: tuple[float, float | None] | None) -> str | None:
    if losses is None:
        return None
    mean, sd = losses
    if not sd:
        return f"{mean:.4g}"
    # As many decimals as two digits of the sd have.
    decimals = min(12, max(0, 1 - math.floor(math.log10(sd))))
    return f"{mean:.{decimals}f} +- {sd:.{decimals}f}"


def _show_pair(row: Noise) -> str | None:
    if row.standardised is None or row.pair is None:
        return None
    size = format_gap(row.standardised)
    names = {cell.label: cell.study.optimizer.name for cell in row.arena.cells}
    return size if {names[label] for label in row.pair} == set(PAIR) else f"{size} ({', '.join(row.pair)})"


def _count(num: int | None) -> str | None:
    return None if num is None else f"{num:,}"


def _list_records(row: Noise) -> list[dict[str, object]]:
    budget = row.arena.study.budget
    return [
        {
            "arena": row.arena.name,
            "workload": row.arena.study.workload.name,
            "num_params": row.num_params,
            "num_steps": budget.steps,
            "batch_size": budget.batch_size,
            "train_median_s": row.train_s,
            "optimizer": cell.label,
            "lr": cell.lr,
            "num_seeds": len(cell.losses),
            "val_loss_mean": losses[0] if (losses := row.losses.get(cell.label)) else None,
            "val_loss_sd": losses[1] if losses else None,
            "effect_scale": row.arena.study.workload.effect,
            "pair_sd": row.pair_sd,
            "is_paired": row.is_paired,
            "smallest_gap": row.gap,
            "pair": " ".join(row.pair) if row.pair else None,
            "standardised_gap": None if row.standardised is None else finite(row.standardised),
            "verdict": row.verdict,
            "status": cell.obstacle or ("ok" if cell.is_complete else "incomplete"),
        }
        for cell in row.arena.cells
    ]
