"""What ran: every setting that may move a number, per arena and optimizer, and every single run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from bench.report.alone import ALONE, name_some, split_alone
from bench.report.chapter import Block, Heading, Note, Notes, Text
from bench.report.effort import describe_effort
from bench.report.settings import tabulate_optimizers, tabulate_pooled, tabulate_settings
from bench.report.sweep import Arena, Sweep
from bench.report.tables import Column, Table
from bench.report.variant import show_compile, show_precision, show_recompute

TITLE = "What ran"
_MAX_ROWS = 200
# More arenas than this share their tables, and of what describes them more than this are not listed.
_MANY_ARENAS, _MAX_TEXTS = 12, 12


def show(sweep: Sweep) -> Sequence[Block] | str:
    """Return the settings of each arena, of each optimizer, and the list of runs.

    Arenas with a single cell share their tables, and so do all where there are many.
    """
    if not sweep.arenas:
        return "This sweep holds no readable study."
    apart, pooled = split_alone(sweep)
    if len(apart) > _MANY_ARENAS:
        apart, pooled = (), sweep.arenas
    blocks: list[Block] = []
    for arena in apart:
        blocks.append(Heading(text=arena.name))
        if arena.obstacle is not None:
            blocks.append(Text(text=f"{arena.name} {arena.obstacle}."))
            continue
        blocks += [Text(text=_describe(arena)), tabulate_settings(arena), tabulate_optimizers(arena)]
    if pooled:
        is_alone = all(len(arena.cells) == 1 for arena in pooled)
        blocks += [Heading(text=ALONE if is_alone else f"{len(pooled)} arenas"), *_show_pooled(pooled)]
    blocks += [Heading(text="All runs"), _tabulate_runs(sweep)]
    return blocks


def _show_pooled(arenas: Sequence[Arena]) -> list[Block]:
    there = [arena for arena in arenas if arena.obstacle is None]
    names: dict[str, list[str]] = {}
    for arena in there:
        names.setdefault(_describe(arena), []).append(arena.name)
    blocks: list[Block] = []
    if len(names) == 1:
        blocks.append(Text(text=f"All of them: {next(iter(names))}"))
    elif names:
        lines = [f"{name_some(each)}: {text}" for text, each in names.items()]
        rest = len(lines) - _MAX_TEXTS
        lines[_MAX_TEXTS:] = [f"{rest} more, which the tables tell apart."] if rest > 0 else []
        blocks.append(Notes(items=tuple(Note(text=line) for line in lines)))
    if there:
        blocks += tabulate_pooled(there)
    reasons: dict[str, list[str]] = {}
    for arena in arenas:
        if arena.obstacle is not None:
            reasons.setdefault(arena.obstacle, []).append(arena.name)
    return [*blocks, *(Text(text=f"{name_some(each)} {reason}.") for reason, each in reasons.items())]


def _describe(arena: Arena) -> str:
    study = arena.study
    data, schedule, budget = study.data, study.schedule, study.budget
    digest = f"sha256 {data.sha256[:16]}" if data.sha256 else "no hash named"
    warmup = f"{100 * schedule.warmup:.3g} % linear warm-up, then " if schedule.warmup else ""
    ending = "" if schedule.name == "constant" else f" to {schedule.floor:.3g} of the peak"
    # A cell whose search found no setting has none to run.
    seeds = sorted({len(cell.ends) for cell in arena.all_cells if cell.ends and not cell.obstacle}) or [0]
    return (
        f"{study.model.name} on {data.name} {data.version} (licence {data.licence}, {digest}), "
        f"{budget.steps} steps of {budget.batch_size} {data.item}s (budget {budget.name}), "
        f"{budget.evaluations} evaluations, schedule: {warmup}{schedule.name}{ending}, per "
        f"{schedule.interval}; {show_precision(arena.cells[0])} on {arena.device} with {study.threads} "
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


def _tabulate_runs(sweep: Sweep) -> Table:
    rows: list[dict[str, Any]] = []
    for arena in sweep.arenas:
        for cell in arena.all_cells:
            # What can't exist here is said once, not once a seed.
            for end in cell.ends if cell.obstacle is None else cell.ends[:1]:
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
                        "precision": end.run.precision.name,
                        "impl": end.run.optimizer.impl,
                        "recompute": show_recompute(cell),
                        "compile": show_compile(cell),
                        "num_steps": result.num_steps if result else None,
                        "num_skipped_steps": result.num_skipped_steps if result else None,
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
        title=f"{len(sweep.ends)} evaluation runs",
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
