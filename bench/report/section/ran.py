"""What ran: every setting that may move a number, per arena and optimizer, and every single run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pandas as pd

from bench.report.chapter import Block, Heading, Text
from bench.report.effort import describe_effort
from bench.report.escape import slug
from bench.report.group import flatten
from bench.report.sweep import Arena, Sweep
from bench.report.tables import Column, Table

TITLE = "What ran"
_MAX_ROWS = 200


def show(sweep: Sweep) -> Sequence[Block] | str:
    """Return the settings of each arena, of each optimizer, and the list of runs."""
    if not sweep.arenas:
        return "This sweep holds no readable study."
    blocks: list[Block] = []
    for arena in sweep.arenas:
        blocks += [
            Heading(text=arena.name),
            Text(text=_describe(arena)),
            _tabulate_settings(arena),
            _tabulate_cells(arena),
        ]
    blocks += [Heading(text="All runs"), _tabulate_runs(sweep)]
    return blocks


def _describe(arena: Arena) -> str:
    study = arena.study
    data, schedule, budget = study.data, study.schedule, study.budget
    digest = f"sha256 {data.sha256[:16]}" if data.sha256 else "no hash named"
    warmup = f"{100 * schedule.warmup:.3g} % linear warm-up, then " if schedule.warmup else ""
    ending = "" if schedule.name == "constant" else f" to {schedule.floor:.3g} of the peak"
    # A cell whose search found no setting has none to run.
    seeds = sorted({len(cell.ends) for cell in arena.cells if cell.ends}) or [0]
    return (
        f"{study.model.name} on {data.name} {data.version} (licence {data.licence}, {digest}), "
        f"{budget.steps} steps of {budget.batch_size} {data.item}s (budget {budget.name}), "
        f"{budget.evaluations} evaluations, schedule: {warmup}{schedule.name}{ending}, per "
        f"{schedule.interval}; {study.precision.name} on {arena.device} with {study.threads} "
        f"thread{'s' * (study.threads != 1)}; {' or '.join(map(str, seeds))} evaluation "
        f"seed{'s' * (seeds != [1])}, the same for all optimizers, which vary {arena.vary}; "
        f"{_describe_search(arena)}"
    )


def _describe_search(arena: Arena) -> str:
    search = arena.study.search
    if search.name == "none":
        return "search: none."
    effort = describe_effort([arena])
    if effort is None:
        return f"search: {search.name}, which left no record."
    grid = (
        f"at {search.per_decade:g} a decade around each declared default, "
        if search.sampler == "grid"
        else ""
    )
    widened = max((cell.search.num_widened for cell in arena.cells if cell.search), default=0)
    grown = f"ranges widened {widened} time{'s' * (widened != 1)}; " if widened else ""
    return (
        f"search: {search.name} by {search.sampler}, {grid}{effort}; {grown}search seeds (1000000 and up) "
        "are never evaluation seeds (0 and up). The validation split is halved once: the search compares "
        "settings on the search half, and every reported validation loss is over the other, the report "
        "half."
    )


def _tabulate_settings(arena: Arena) -> Table:
    keys, values = tuple(arena.settings), tuple(arena.settings.values())
    return Table(
        name=f"settings_{slug(arena.name)}",
        title="Settings shared by all optimizers of the arena",
        columns=(Column(header="key", cells=keys), Column(header="value", cells=values)),
        data=pd.DataFrame({"key": keys, "value": values}),
        is_folded=True,
    )


def _tabulate_cells(arena: Arena) -> Table:
    rows = []
    for cell in arena.cells:
        optimizer = cell.optimizer
        args = flatten({"args": msgspec.to_builtins(optimizer.args)})
        search = optimizer.search.lr
        rows.append(
            {
                "optimizer": cell.label,
                "target": optimizer.target,
                "lr": cell.lr,
                "lr_asked": str(cell.study.optimizer.lr),
                "weight_decay": optimizer.weight_decay,
                "weight_decay_kind": optimizer.weight_decay_kind or "unknown",
                "impl": optimizer.impl or "the class decides",
                "arguments": ", ".join(f"{key.removeprefix('args.')}={value}" for key, value in args.items()),
                "lr_declared": f"{search.default:g} ({search.low:g} to {search.high:g}; {search.source})",
            }
        )
    data = pd.DataFrame(rows)

    def column(header: str, key: str, *, is_number: bool = False) -> Column:
        return Column(
            header=header, cells=tuple(row[key] for row in rows), style="general" if is_number else "text"
        )

    return Table(
        name=f"optimizers_{slug(arena.name)}",
        title="Settings of each optimizer",
        columns=(
            column("optimizer", "optimizer"),
            column("class", "target"),
            column("lr", "lr", is_number=True),
            column("weight decay", "weight_decay", is_number=True),
            column("its kind", "weight_decay_kind"),
            column("implementation", "impl"),
            column("arguments", "arguments"),
            column("declared lr (range; source)", "lr_declared"),
        ),
        data=data,
        is_folded=True,
    )


def _tabulate_runs(sweep: Sweep) -> Table:
    rows: list[dict[str, Any]] = []
    for arena in sweep.arenas:
        for cell in arena.cells:
            for end in cell.ends:
                result = end.result
                rows.append(
                    {
                        "arena": arena.name,
                        "optimizer": cell.label,
                        "seed": end.run.seed,
                        "status": end.status,
                        "val_loss": end.val_loss,
                        "val_loss_best": result.val_loss_best if result else None,
                        "train_loss": result.train_loss if result else None,
                        "num_steps": result.num_steps if result else None,
                        "train_s": result.train_s if result else None,
                        "engine": result.engine if result else None,
                        "torch": result.machine.torch if result else None,
                        "device_name": result.machine.device_name if result else None,
                        "commit": result.machine.commit if result else None,
                        "started_at": result.started_at if result else None,
                        "detail": end.detail,
                        "run_id": end.id,
                    }
                )
    shown = rows[:_MAX_ROWS]
    rest = len(rows) - len(shown)
    return Table(
        name="runs",
        title=f"{len(rows)} evaluation runs",
        columns=(
            Column(header="arena", cells=tuple(row["arena"] for row in shown)),
            Column(header="optimizer", cells=tuple(row["optimizer"] for row in shown)),
            Column(header="seed", cells=tuple(str(row["seed"]) for row in shown)),
            Column(header="status", cells=tuple(row["status"] for row in shown)),
            Column(header="val loss", cells=tuple(row["val_loss"] for row in shown), style="fixed"),
            Column(header="best val loss", cells=tuple(row["val_loss_best"] for row in shown), style="fixed"),
            Column(header="training (s)", cells=tuple(row["train_s"] for row in shown), style="fixed"),
            Column(header="run id", cells=tuple(row["run_id"] for row in shown)),
        ),
        data=pd.DataFrame(rows),
        note=f"{rest} more rows in tables/runs.csv." if rest > 0 else None,
        is_folded=True,
    )
