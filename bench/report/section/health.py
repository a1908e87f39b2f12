"""What the curves tell of the trainings themselves: which are ill, on what evidence, and what to try."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from bench.report.chapter import Block, Note, Notes
from bench.report.health import Finding, count_healthy, find_ill, write_command
from bench.report.sweep import Sweep
from bench.report.tables import Column, Table

TITLE = "Health"
# Commands that are written out; the rest stand in the table's data.
_MAX_COMMANDS = 6


def show(sweep: Sweep) -> Sequence[Block] | str:
    """Return a row for each cell with an ill run, and the commands that would answer them."""
    findings = list(find_ill(sweep))
    if not findings:
        num_healthy, num_judged = count_healthy(sweep)
        return (
            f"All {num_healthy} training curves look healthy."
            if num_judged
            else "No training curve is long enough to be judged."
        )
    return [_make_table(sweep, findings), *_list_commands(sweep, findings)]


def _make_table(sweep: Sweep, findings: Sequence[Finding]) -> Table:
    rows = [
        {
            "arena": finding.arena.name,
            "optimizer": finding.cell.label,
            "diagnosis": finding.diagnosis.kind,
            "num_so": finding.counts[finding.diagnosis.kind],
            "num_runs": len(finding.cell.ends),
            "seed": finding.seed,
            "evidence": finding.diagnosis.evidence,
            "advice": finding.diagnosis.advice,
            "command": write_command(sweep, finding),
        }
        for finding in findings
    ]
    columns = (
        Column(header="arena", cells=tuple(str(row["arena"]) for row in rows)),
        Column(header="optimizer", cells=tuple(str(row["optimizer"]) for row in rows)),
        Column(header="diagnosis", cells=tuple(str(row["diagnosis"]) for row in rows)),
        Column(header="runs", cells=tuple(f"{row['num_so']} of {row['num_runs']}" for row in rows)),
        Column(header="evidence", cells=tuple(f"seed {row['seed']}: {row['evidence']}" for row in rows)),
    )
    num_healthy, num_judged = count_healthy(sweep)
    return Table(
        name="health",
        title="Trainings that look ill",
        columns=columns,
        data=pd.DataFrame(rows),
        note=f"{num_healthy} of {num_judged} curves look healthy. A diagnosis is a rule of thumb and "
        "voids no claim; docs/practice.md tells the rules, report.health.* are their lines.",
    )


def _list_commands(sweep: Sweep, findings: Sequence[Finding]) -> list[Block]:
    """Return what to do about each kind of trouble, with the command of its first cell."""
    notes: dict[str, Note] = {}
    for finding in findings:
        diagnosis = finding.diagnosis
        if diagnosis.advice is not None and diagnosis.advice not in notes:
            name = f"{finding.arena.name}/{finding.cell.label} is {diagnosis.kind}:"
            notes[diagnosis.advice] = Note(
                text=diagnosis.advice, label=name, command=write_command(sweep, finding)
            )
    items = tuple(notes.values())[:_MAX_COMMANDS]
    return [Notes(items=items, title="What to try")] if items else []
