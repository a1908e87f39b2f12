"""Who is missing, and why: a run that failed is a row, never a gap."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

import pandas as pd

from bench.report.chapter import Block, Code, Note, Notes, Text
from bench.report.sweep import Sweep
from bench.report.tables import Column, Table

TITLE = "Failures"


def show(sweep: Sweep) -> Sequence[Block] | str:
    """Return every run that did not finish, with its reason, and the command that tries them again."""
    rows = [
        {
            "arena": arena.name,
            "optimizer": cell.label,
            "seed": end.run.seed,
            "status": end.status,
            "num_steps": end.result.num_steps if end.result else None,
            "detail": end.detail,
            "run_id": end.id,
        }
        for arena in sweep.arenas
        for cell in arena.all_cells
        if cell.obstacle is None
        for end in cell.ends
        if end.val_loss is None
    ]
    not_run = _list_not_run(sweep)
    if not rows and not sweep.unreadable:
        return [Text(text="Every run finished that could."), *not_run] if not_run else "Every run finished."
    blocks: list[Block] = []
    if rows:
        columns = (
            Column(header="arena", cells=tuple(row["arena"] for row in rows)),
            Column(header="optimizer", cells=tuple(row["optimizer"] for row in rows)),
            Column(header="seed", cells=tuple(str(row["seed"]) for row in rows)),
            Column(header="status", cells=tuple(row["status"] for row in rows)),
            Column(header="steps done", cells=tuple(_text(row["num_steps"]) for row in rows)),
            Column(header="reason", cells=tuple(row["detail"] for row in rows)),
        )
        blocks.append(
            Table(
                name="failures",
                title="Runs that did not finish",
                columns=columns,
                data=pd.DataFrame(rows),
                # However long: what went wrong is never folded away.
                is_folded=False,
            )
        )
    retried = sorted(
        {str(row["status"]) for row in rows} & {"failed", "oom", "timeout", "killed", "interrupted"}
    )
    if retried:
        blocks.append(Code(text=f"{sweep.manifest.command} retry={shlex.quote(','.join(retried))}"))
    if sweep.unreadable:
        blocks.append(Notes(items=tuple(Note(text=line) for line in sweep.unreadable)))
    return [*blocks, *not_run]


def _list_not_run(sweep: Sweep) -> list[Block]:
    """Return what could not run here at all: one row for each optimizer, or for a whole arena."""
    rows = []
    for arena in sweep.arenas:
        labels = [cell.label for cell in arena.all_cells if cell.obstacle is not None]
        if arena.obstacle is not None:
            rows.append({"arena": arena.name, "optimizer": ", ".join(labels), "reason": arena.obstacle})
            continue
        rows += [
            {"arena": arena.name, "optimizer": cell.label, "reason": cell.obstacle}
            for cell in arena.all_cells
            if cell.obstacle is not None
        ]
    if not rows:
        return []
    columns = tuple(Column(header=key, cells=tuple(row[key] for row in rows)) for key in rows[0])
    note = "No failures: what can't exist here counts for and against nobody."
    return [Table(name="not_run", title="Not run", columns=columns, data=pd.DataFrame(rows), note=note)]


def _text(value: object) -> str | None:
    return None if value is None else str(value)
