"""The metered cells of a sweep as the rows of one table: what names each, and what they differ in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from bench.report.pace import step_s
from bench.report.sweep import Arena, Cell, Sweep
from bench.report.tables import Column
from bench.report.variant import show_compile, show_impl, show_precision, show_recompute, strip_label
from bench.result import Cost

# What is beyond stands in the CSV.
MAX_ROWS = 60


@dataclass(frozen=True, kw_only=True)
class Metered:
    """A cell whose cost was asked for."""

    arena: Arena
    cell: Cell
    # None: it came to nothing.
    cost: Cost | None
    # The arena's name without its precision, which is a column of its own where it varies.
    place: str

    @property
    def timed(self) -> Cost | None:
        """The cost where its times say something."""
        return self.cost if step_s(self.cell) is not None else None

    @property
    def is_reference(self) -> bool:
        """Whether the others of its arena are compared with it."""
        return self.cell is self.arena.reference


def find_metered(sweep: Sweep) -> tuple[Metered, ...]:
    """Return the cells whose cost was asked for, those included that have none; in the sweep's order."""
    cells = [(arena, cell) for arena in sweep.arenas for cell in _sort(arena) if cell.obstacle is None]
    is_varied = len({show_precision(cell) for _, cell in cells}) > 1
    return tuple(
        Metered(
            arena=arena,
            cell=cell,
            cost=cell.cost,
            place=_strip(arena.name, cell) if is_varied else arena.name,
        )
        for arena, cell in cells
        if cell.cost is not None or cell.metering_trouble is not None
    )


def explain_absence(sweep: Sweep) -> str:
    """Return why a sweep says nothing of what a step costs."""
    cells = [cell for arena in sweep.arenas for cell in arena.all_cells]
    reasons = dict.fromkeys(cell.metering_trouble for cell in cells if cell.metering_trouble)
    if not any(cell.study.meter.is_on for cell in cells):
        return "No step was metered in this sweep (meter=none)."
    if reasons:
        return f"No step could be metered: {'; '.join(map(str, reasons))}."
    return "No step was metered in this sweep: no cell came as far as that."


def group_places(rows: Sequence[Metered]) -> dict[str, list[Metered]]:
    """Return rows by place: cells of one place differ in optimizer and in how a step is computed, only."""
    groups: dict[str, list[Metered]] = {}
    for row in rows:
        groups.setdefault(row.place, []).append(row)
    return groups


def list_names(rows: Sequence[Metered]) -> list[Column]:
    """Return the columns that name each row: its arena, its optimizer, and how a step is computed.

    What goes without saying is left out: an arena or a precision that all share, nothing recomputed.
    """
    columns = [("arena", tuple(row.place for row in rows))] if len(group_places(rows)) > 1 else []
    columns.append(("optimizer", tuple(strip_label(row.cell) for row in rows)))
    impls = tuple(show_impl(row.cell) or "by its class" for row in rows)
    if set(impls) != {"by its class"}:
        columns.append(("impl", impls))
    precisions = tuple(show_precision(row.cell) for row in rows)
    if len(set(precisions)) > 1:
        columns.append(("precision", precisions))
    for header, show in (("recompute", show_recompute), ("compile", show_compile)):
        cells = tuple(show(row.cell) for row in rows)
        if set(cells) != {"none"}:
            columns.append((header, cells))
    return [Column(header=header, cells=cells) for header, cells in columns]


def record_names(row: Metered) -> dict[str, Any]:
    """Return what names a row, as data."""
    return {
        "arena": row.arena.name,
        "optimizer": row.cell.label,
        "is_reference": row.is_reference,
        "impl": show_impl(row.cell),
        "precision": show_precision(row.cell),
        "recompute": show_recompute(row.cell),
        "compile": show_compile(row.cell),
        "device": row.cost.machine.device if row.cost else row.arena.device,
        "device_name": row.cost.machine.device_name if row.cost else None,
        "torch": row.cost.machine.torch if row.cost else None,
        "status": row.cost.status if row.cost else "missing",
        "detail": row.cell.metering_trouble,
    }


def list_notes(rows: Sequence[Metered]) -> tuple[str, ...]:
    """Return what the meter noted, one line for each different note with the rows it is of."""
    notes: dict[str, list[str]] = {}
    for row in rows:
        # That a precision is emulated is said in its row.
        for note in (note for note in (row.cost.notes if row.cost else ()) if not note.startswith("speed: ")):
            notes.setdefault(note, []).append(f"{row.arena.name}/{row.cell.label}")
    return tuple(
        f"{note} ({', '.join(names[:3])}{f' and {len(names) - 3} more' * (len(names) > 3)})"
        if len(names) < len(rows)
        else note
        for note, names in notes.items()
    )


def show_span(counts: Iterable[int]) -> str:
    """Return counts as `100`, or as `210 to 936` where they differ."""
    known = sorted(set(counts))
    return " to ".join(map(str, dict.fromkeys((known[0], known[-1])))) if known else "0"


def count_rest(rows: Sequence[Metered], name: str) -> str:
    """Return how many rows a table leaves to its CSV, as the end of its note."""
    rest = len(rows) - MAX_ROWS
    return f" {rest} more rows in tables/{name}.csv." if rest > 0 else ""


def _sort(arena: Arena) -> list[Cell]:
    """Return an arena's cells in its order, each with its variants after it."""
    variants: dict[str | None, list[Cell]] = {}
    for cell in sorted(arena.variants, key=lambda cell: cell.label):
        variants.setdefault(cell.variant_of, []).append(cell)
    return [each for cell in arena.cells for each in (cell, *variants.get(cell.label, ()))]


def _strip(name: str, cell: Cell) -> str:
    precision = show_precision(cell)
    return " ".join(word for word in name.split(" ") if word != precision)
