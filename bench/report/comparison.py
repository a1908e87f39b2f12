"""The one table of an arena: quality, verdict and cost of each optimizer in a row, as data and as text."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from bench.report.effects import format_effects
from bench.report.escape import slug
from bench.report.memory_tables import state_per_param
from bench.report.pace import drift_of, step_s
from bench.report.sweep import Arena, Cell, finite
from bench.report.tables import Column, Table, scale_count
from bench.report.tuning import format_lr
from bench.report.variant import describe_variants
from bench.report.verdict import Judgement, judge, scale_of
from bench.stats import summarise

MIB = 2**20
# Metric name -> its header, and the factor from the stored unit to the shown one.
_METRICS = {"accuracy": ("accuracy (%) ↑", 100.0), "psnr_db": ("PSNR (dB) ↑", 1.0)}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One optimizer's numbers in one arena; None where there is no honest number."""

    cell: Cell
    judgement: Judgement
    val_loss: float | None
    val_loss_sd: float | None
    # Metric name -> mean over the seeds, in the stored unit.
    metrics: dict[str, float | None]
    # All of these from the metering, never from the training runs; times as they would be at one speed of the
    # machine, by the reference step.
    step_s: float | None
    items_per_s: float | None
    peak_bytes: int | None
    state_bytes_per_param: float | None
    status: str


def make_rows(arena: Arena) -> tuple[Row, ...]:
    """Return the rows of an arena's table, in its order: by mean final loss, cells without one last."""
    rows = []
    for each in judge(arena):
        cell, cost = each.cell, each.cell.cost
        mean, sd = summarise(list(cell.losses.values())) if cell.is_complete else (None, None)
        seconds, drift = step_s(cell), drift_of(cell, arena.cells)
        rate = finite(cost.items_per_s) if cost and seconds is not None else None
        rows.append(
            Row(
                cell=cell,
                judgement=each,
                val_loss=mean,
                val_loss_sd=sd,
                metrics=_average_metrics(cell),
                step_s=None if seconds is None else seconds / drift,
                items_per_s=None if rate is None else rate * drift,
                peak_bytes=cost.peak_bytes if cost else None,
                state_bytes_per_param=state_per_param(cost) if cost else None,
                status=describe_status(cell),
            )
        )
    return tuple(rows)


def describe_status(cell: Cell) -> str:
    """Return "ok", or in words how the seeds ended that did not finish, with the first reason."""
    if cell.is_complete:
        return "ok"
    if cell.obstacle is not None:
        return cell.obstacle
    if not cell.ends:
        return "not run"
    parts = []
    for status in dict.fromkeys(end.status for end in cell.ends if end.status != "finished"):
        detail = next((end.detail for end in cell.ends if end.status == status and end.detail), None)
        count = f" {cell.count(status)}/{len(cell.ends)}"
        word = "not run" if status == "missing" else status
        parts.append(
            f"{word}{count}" + (f": {detail}" if detail and status not in ("diverged", "missing") else "")
        )
    return "; ".join(parts)


def tabulate(arena: Arena) -> Table:
    """Return an arena's table."""
    rows = make_rows(arena)
    if arena.obstacle is not None:
        return _tabulate_obstacle(arena, rows)
    unit, _ = scale_of(arena)
    item = f"{arena.study.data.item}s/s"
    rate_unit, rates = scale_count([row.items_per_s for row in rows], item)
    columns = [
        Column(header="optimizer", cells=tuple(row.cell.label for row in rows)),
        Column(
            header="n ok/run",
            cells=tuple(
                None if row.cell.obstacle else f"{len(row.cell.losses)}/{len(row.cell.ends)}" for row in rows
            ),
        ),
        Column(header="val loss ↓", cells=tuple(row.val_loss for row in rows), style="fixed"),
        Column(header="sd", cells=tuple(row.val_loss_sd for row in rows), style="fixed"),
        *_metric_columns(rows),
        Column(
            header=f"vs {arena.reference.label}{unit and ' (%)'} [95 % CI]",
            cells=format_effects(arena, [row.judgement for row in rows]),
        ),
        Column(header="verdict", cells=tuple(row.judgement.verdict for row in rows)),
        Column(header="lr", cells=tuple(format_lr(row.cell) for row in rows), style="general"),
        Column(header="step (ms) ↓", cells=tuple(_times(row.step_s, 1e3) for row in rows), style="fixed"),
        Column(header=f"{rate_unit} ↑", cells=tuple(rates), style="fixed"),
        Column(
            header="peak (MiB) ↓", cells=tuple(_times(row.peak_bytes, 1 / MIB) for row in rows), style="fixed"
        ),
        Column(
            header="state (B/param) ↓", cells=tuple(row.state_bytes_per_param for row in rows), style="fixed"
        ),
        Column(header="status", cells=tuple(row.status for row in rows)),
    ]
    num_tested = sum(row.judgement.p_holm is not None for row in rows)
    remarks = [f"{row.cell.label}: {row.judgement.remark}" for row in rows if row.judgement.remark]
    return Table(
        name=f"results_{slug(arena.name)}",
        title=f"{arena.name}: loss, verdict and cost",
        columns=tuple(columns),
        data=_collect(arena, rows),
        marked=tuple(index for index, row in enumerate(rows) if row.judgement.is_reference),
        note=f"The reference {arena.reference.label} is marked. sd: over seeds. Differences are paired "
        f"per seed; p-values are adjusted for {num_tested} comparison{'s' * (num_tested != 1)} (Holm)."
        + (" Intervals hold what another search might have chosen." if arena.is_searched else "")
        + (f" {'; '.join(remarks)}." if remarks else "")
        + describe_variants(arena),
    )


def _tabulate_obstacle(arena: Arena, rows: tuple[Row, ...]) -> Table:
    """Return the one row of an arena in which nothing could run."""
    return Table(
        name=f"results_{slug(arena.name)}",
        title=f"{arena.name}: loss, verdict and cost",
        columns=(
            Column(header="optimizer", cells=(", ".join(row.cell.label for row in rows),)),
            Column(header="verdict", cells=("not run",)),
            Column(header="status", cells=(arena.obstacle,)),
        ),
        data=_collect(arena, rows),
    )


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _average_metrics(cell: Cell) -> dict[str, float | None]:
    names = dict.fromkeys(name for end in cell.ends if end.result for name in end.result.val_metrics)
    averages: dict[str, float | None] = {}
    for name in names:
        values = [finite(end.result.val_metrics.get(name)) for end in cell.ends if end.result]
        known = [value for value in values if value is not None]
        averages[name] = summarise(known)[0] if cell.is_complete and len(known) == len(cell.ends) else None
    return averages


def _metric_columns(rows: tuple[Row, ...]) -> list[Column]:
    columns = []
    for name in dict.fromkeys(name for row in rows for name in row.metrics):
        header, factor = _METRICS.get(name, (name, 1.0))
        cells = tuple(_times(row.metrics.get(name), factor) for row in rows)
        columns.append(Column(header=header, cells=cells, style="fixed"))
    return columns


def _collect(arena: Arena, rows: tuple[Row, ...]) -> pd.DataFrame:
    records = []
    for row in rows:
        effect = row.judgement.effect
        low, high = (effect.interval if effect else None) or (None, None)
        records.append(
            {
                "arena": arena.name,
                "optimizer": row.cell.label,
                "is_reference": row.judgement.is_reference,
                "num_ok": len(row.cell.losses),
                "num_runs": len(row.cell.ends),
                "val_loss_mean": row.val_loss,
                "val_loss_sd": row.val_loss_sd,
                **row.metrics,
                "effect_scale": arena.study.workload.effect,
                "effect_mean": effect.mean if effect else None,
                "effect_ci95_low": low,
                "effect_ci95_high": high,
                # Of the interval: its half-width, and what the two searches add to its standard error.
                "resolution": effect.resolution if effect else None,
                "selection_sd": math.hypot(*effect.selection) if effect else None,
                "num_pairs": effect.n if effect else None,
                "p": effect.p if effect else None,
                "p_holm": row.judgement.p_holm,
                "margin": arena.study.workload.margin,
                "verdict": row.judgement.verdict,
                "lr": row.cell.lr,
                "weight_decay": row.cell.optimizer.weight_decay,
                "adjusted_step_s": row.step_s,
                "adjusted_items_per_s": row.items_per_s,
                "peak_bytes": row.peak_bytes,
                "state_bytes_per_param": row.state_bytes_per_param,
                "status": row.status,
            }
        )
    return pd.DataFrame(records)
