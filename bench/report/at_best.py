"""Optimizers side by side, each at the best of its listed settings: a sweep of many cells in few columns."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from bench.report.best import Contest, find_contests
from bench.report.comparison import Row as Line
from bench.report.comparison import make_rows
from bench.report.factor import Task, find_tasks
from bench.report.finding import describe_verdict
from bench.report.suite import Entry, Row, Suite, make_row
from bench.report.sweep import Arena, Cell, Sweep
from bench.report.verdict import Judgement, scale_of
from bench.stats import summarise


def lists_settings(sweep: Sweep) -> bool:
    """Return whether an arena holds several settings of an optimizer, so that no cell stands for it alone."""
    return any(
        max(Counter(cell.study.optimizer.name for cell in arena.cells).values()) > 1 for arena in sweep.arenas
    )


def make_best_suite(sweep: Sweep) -> Suite | None:
    """Return a row per contest, and per arena without one; None where no two optimizers list settings.

    Where no arena lists settings of its own, a contest over all of a task's arenas stands for them: what was
    listed there, such as a dropout, is not the optimizer's alone.
    """
    rows: list[Row] = []
    covered: set[str] = set()
    chosen: list[Contest] = []
    for task in find_tasks(sweep):
        arenas = {arena.name for grid in task.grids for arena in grid.arenas.values()}
        contests = find_contests(task)
        inside = [contest for contest in contests if contest.name in arenas]
        chosen += inside or contests
        rows += [_make_row(task, contest) for contest in inside or contests]
        covered |= {contest.name for contest in inside} if inside or not contests else arenas
    if not any(len(contest.choices) > 1 for contest in chosen):
        return None
    alone = [arena for arena in sweep.arenas if arena.obstacle is None and arena.name not in covered]
    rows += [make_row(arena) for arena in alone]
    order = {arena.name: number for number, arena in enumerate(sweep.arenas)}
    rows.sort(key=lambda row: order.get(row.arena.name, -1))
    firsts = Counter(
        label for row in rows for label, entry in row.entries.items() if entry.judgement.is_reference
    )
    labels = sorted({label for row in rows for label in row.entries}, key=lambda name: (-firsts[name], name))
    counts = [choice.num_tried for contest in chosen for choice in contest.choices]
    listed = "-".join(map(str, dict.fromkeys((min(counts), max(counts)))))
    choice = f"each at its best of {listed} listed settings"
    return Suite(rows=tuple(rows), labels=tuple(labels), choice=choice)


def list_lines(sweep: Sweep, suite: Suite) -> list[tuple[Arena, tuple[Line, ...]]]:
    """Return each row of such a suite as an arena of the chosen cells alone, and as lines of its table."""
    lines = {id(line.cell): line for arena in sweep.arenas for line in make_rows(arena)}
    found = []
    for row in suite.rows:
        cells = {label: _name(label, entry) for label, entry in row.entries.items()}
        references = [cells[label] for label, entry in row.entries.items() if entry.judgement.is_reference]
        arena = replace(
            row.arena, cells=tuple(cells.values()), reference=(references or list(cells.values()))[0]
        )
        own = [
            replace(
                lines[id(entry.judgement.cell)],
                cell=cells[label],
                judgement=replace(entry.judgement, cell=cells[label]),
                val_loss=entry.val_loss,
            )
            for label, entry in row.entries.items()
        ]
        own.sort(key=lambda line: (line.val_loss is None, line.val_loss or 0.0, line.cell.label))
        found.append((arena, tuple(own)))
    return found


def _name(label: str, entry: Entry) -> Cell:
    """Return a cell, named by its optimizer and all that was chosen but the lr, which has a column."""
    parts = [part for part in (entry.setting or "").split() if not part.startswith("lr=")]
    return replace(entry.judgement.cell, label=" ".join([label, *parts]))


def _make_row(task: Task, contest: Contest) -> Row:
    places = [(arena, grid.cells[place]) for grid in task.grids for place, arena in grid.arenas.items()]
    arena = next((arena for arena, _ in places if arena.name == contest.name), None)
    here = [cell for each, cell in places if arena is None or each.name == arena.name]
    arena = arena or replace(task.arena, name=contest.name)
    _, convert = scale_of(arena)
    matches = {match.choice.grid.optimizer: match for match in contest.matches}
    # As the contest has it.
    reference = task.arena.reference.study.optimizer.name
    entries = {}
    for choice in contest.choices:
        optimizer = choice.grid.optimizer
        match = matches.get(optimizer)
        effect = match.effect if match is not None else None
        verdict = "no claim (reference incomplete)" if match is None else describe_verdict(match)
        judgement = Judgement(
            cell=choice.cell,
            is_reference=optimizer == reference,
            effect=effect,
            p_holm=match.claim.p_holm if match is not None and match.claim is not None else None,
            verdict="reference" if optimizer == reference else verdict,
            remark=None,
        )
        entries[optimizer] = Entry(
            judgement=judgement,
            val_loss=summarise(list(choice.losses.values()))[0],
            effect=None if effect is None else convert(effect.mean),
            setting=choice.label.removeprefix(optimizer).strip() or None,
        )
    for optimizer in contest.absent:
        cell = next(cell for cell in here if cell.study.optimizer.name == optimizer)
        judgement = Judgement(
            cell=cell,
            is_reference=optimizer == reference,
            effect=None,
            p_holm=None,
            verdict="missing (no setting finished)",
            remark=None,
        )
        entries[optimizer] = Entry(judgement=judgement, val_loss=None, effect=None)
    return Row(arena=arena, entries=entries, unbeaten=(), floor=None)
