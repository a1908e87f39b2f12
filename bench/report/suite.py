"""Several workloads, one row each: what every optimizer did there, and what could be told at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from bench.report.across import classify
from bench.report.effects import format_effect
from bench.report.power import PAIR, Floor, find_floor, shower
from bench.report.sweep import Arena, finite
from bench.report.tables import Column, Table
from bench.report.unbeaten import find_unbeaten
from bench.report.verdict import Judgement, judge, scale_of
from bench.stats import Effect, summarise

# With more arenas than this, the answer is a table, one row each.
MANY_ARENAS = 3


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What one optimizer did in one arena."""

    judgement: Judgement
    # Mean final loss; None without an honest one.
    val_loss: float | None
    # Against the arena's reference, in the unit shown; None for the reference itself and without a pair.
    effect: float | None
    # Which of its listed settings this is, as `lr=0.001`; None where it has one only.
    setting: str | None = None

    @property
    def kind(self) -> str:
        """The first word or two of its verdict; "reference" for the reference."""
        judgement = self.judgement
        is_reference = judgement.is_reference and judgement.verdict == "reference"
        return "reference" if is_reference else classify(judgement)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One arena."""

    arena: Arena
    # By label; an optimizer that was not asked to run here is absent.
    entries: dict[str, Entry]
    unbeaten: tuple[str, ...]
    # None where its noise was never measured.
    floor: Floor | None


@dataclass(frozen=True, kw_only=True)
class Suite:
    """The arenas of a sweep in which something ran, and the optimizers in the order of their columns."""

    rows: tuple[Row, ...]
    # The most common reference first, then by how often they are unbeaten.
    labels: tuple[str, ...]
    # How each optimizer's cell was chosen among several; None where each has one only.
    choice: str | None = None

    @property
    def controls(self) -> tuple[str, ...]:
        """The arenas that are negative controls."""
        return tuple(row.arena.name for row in self.rows if row.floor is not None and row.floor.is_control)


def make_suite(arenas: Sequence[Arena]) -> Suite:
    """Return the rows of the arenas in which something could run, in their order."""
    rows = tuple(make_row(arena) for arena in arenas if arena.obstacle is None)
    references = [row.arena.reference.label for row in rows]
    wins = {label: sum(label in row.unbeaten for row in rows) for row in rows for label in row.entries}
    first = max(sorted(set(references)), key=references.count, default=None)
    labels = sorted(wins, key=lambda label: (label != first, -wins[label], label))
    return Suite(rows=rows, labels=tuple(labels))


def make_row(arena: Arena) -> Row:
    """Return what every cell of an arena did there."""
    _, convert = scale_of(arena)
    entries = {
        each.cell.label: Entry(
            judgement=each,
            val_loss=summarise(list(each.cell.losses.values()))[0] if each.cell.is_complete else None,
            effect=convert(each.effect.mean) if each.effect is not None else None,
        )
        for each in judge(arena)
    }
    return Row(arena=arena, entries=entries, unbeaten=find_unbeaten(arena), floor=find_floor(arena))


def tabulate_suite(suite: Suite) -> Table:
    """Return a suite as a table: the reference by its loss, the others by their difference to it."""
    columns = [Column(header="arena", cells=tuple(_name(row) for row in suite.rows))]
    for label in suite.labels:
        cells = tuple(_show(row.entries.get(label), row) for row in suite.rows)
        columns.append(Column(header=label, cells=cells))
    if suite.choice is None:
        unbeaten = tuple(", ".join(row.unbeaten) if row.unbeaten else None for row in suite.rows)
        columns.append(Column(header="unbeaten", cells=unbeaten))
    if any(row.floor for row in suite.rows):
        columns.append(Column(header="its seeds can tell", cells=tuple(show_gap(row) for row in suite.rows)))
    nums = sorted({each.n for row in suite.rows for each in _list_effects(row)})
    notes = [
        "A reference shows its mean final validation loss; the others their mean paired difference to it, in "
        "% (plain where the workload's losses are no ratios), below 0 better, and the verdict; "
        f"n = {' or '.join(map(str, nums)) or '0'} paired seeds, intervals in the results."
    ]
    if suite.choice is not None:
        notes.append(
            f"{suite.choice.capitalize()}: exploratory, chosen by other seeds and on other items; how, and "
            "every single setting, is under What each setting buys."
        )
    if any(row.floor for row in suite.rows):
        notes.append(
            "Its seeds can tell: the smallest gap seen with 80 % power even unpaired, by the workload's "
            "frozen seed sd; pairing by seed does better."
        )
    if suite.controls:
        pair = " and ".join(PAIR)
        notes.append(
            f"(control): {pair} are known to tie there, so that a winner on it would be no good sign."
        )
    return Table(
        name="suite",
        title="One row per arena" + (f", {suite.choice}" if suite.choice else ""),
        columns=tuple(columns),
        data=pd.DataFrame([record for row in suite.rows for record in _list_records(row)]),
        note=" ".join(notes),
    )


def _list_effects(row: Row) -> list[Effect]:
    effects = [entry.judgement.effect for entry in row.entries.values()]
    return [effect for effect in effects if effect is not None]


def _name(row: Row) -> str:
    return row.arena.name + (" (control)" if row.floor is not None and row.floor.is_control else "")


def _show(entry: Entry | None, row: Row) -> str | None:
    if entry is None:
        return None
    if entry.kind == "reference":
        words = [] if entry.val_loss is None else [f"{entry.val_loss:.3g}"]
        words.append("(reference)" if words else "reference")
    else:
        unit, _ = scale_of(row.arena)
        words = [] if entry.effect is None else [f"{format_effect(row.arena, entry.effect)}{unit}"]
        words.append(entry.judgement.verdict.partition(",")[0])
    return " ".join([*words, *([f"at {entry.setting}"] if entry.setting else [])])


def show_gap(row: Row) -> str | None:
    """Return the smallest gap an arena's seeds can tell, as shown; None where it is not known."""
    if row.floor is None or row.floor.gap is None:
        return None
    return shower(row.arena)(row.floor.gap)


def _list_records(row: Row) -> list[dict[str, object]]:
    floor = row.floor
    return [
        {
            "arena": row.arena.name,
            "optimizer": label,
            "reference": row.arena.reference.label,
            "val_loss_mean": entry.val_loss,
            "effect_scale": row.arena.study.workload.effect,
            "effect_mean": entry.judgement.effect.mean if entry.judgement.effect else None,
            "effect_ci95_low": (interval := _read_interval(entry))[0],
            "effect_ci95_high": interval[1],
            "verdict": entry.judgement.verdict,
            "setting": entry.setting,
            "is_unbeaten": label in row.unbeaten if row.unbeaten else None,
            "smallest_gap": floor.gap if floor else None,
            "reference_d": finite(floor.standardised) if floor else None,
            "is_control": floor.is_control if floor else None,
        }
        for label, entry in row.entries.items()
    ]


def _read_interval(entry: Entry) -> tuple[float | None, float | None]:
    effect = entry.judgement.effect
    return effect.interval if effect is not None and effect.interval is not None else (None, None)
