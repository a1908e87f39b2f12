"""Tables as data: numbers stay numbers until the last moment, then every column shows them one way."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from bench.report.escape import escape_csv, escape_markdown

# What stands where there is no number; it never is a number that was not measured.
ABSENT = "–"  # noqa: RUF001


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of a table as shown.

    `text` is left-aligned; `fixed` shares decimals over the column; `general` is each number's shortest form.
    """

    header: str
    cells: tuple[str | float | None, ...]
    style: Literal["text", "fixed", "general"] = "text"


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table for readers, and the same as data."""

    # File name without its ending.
    name: str
    title: str
    columns: tuple[Column, ...]
    # Full precision, one column per quantity, the unit in its name.
    data: pd.DataFrame
    # Rows set apart: those of the reference.
    marked: tuple[int, ...] = ()
    note: str | None = None
    # None: where it is long.
    is_folded: bool | None = None
    kind: str = "table"


def format_column(column: Column) -> list[str]:
    """Return the cells of a column as text."""
    if column.style == "fixed":
        return format_fixed([cell if isinstance(cell, int | float) else None for cell in column.cells])
    if column.style == "general":
        return [f"{cell:.3g}" if isinstance(cell, int | float) else cell or ABSENT for cell in column.cells]
    return [ABSENT if cell is None or cell == "" else str(cell) for cell in column.cells]


def drop_empty(columns: Sequence[Column]) -> tuple[Column, ...]:
    """Return the columns in which any row has something."""
    return tuple(column for column in columns if any(cell not in (None, "") for cell in column.cells))


def format_fixed(values: Sequence[float | None]) -> list[str]:
    """Return numbers with one count of decimals: 3 significant digits for the smallest that matters."""
    known = [abs(value) for value in values if value]
    decimals = 0
    if known:
        # A value 1000 times below the largest may not stretch the whole column.
        smallest = max(min(known), max(known) / 1000)
        decimals = min(12, max(0, 2 - math.floor(math.log10(smallest))))
    return [ABSENT if value is None else f"{value:.{decimals}f}" for value in values]


def scale_count(values: Sequence[float | None], unit: str) -> tuple[str, list[float | None]]:
    """Return a unit with a number word and the values in it: 2,300,000 pixels/s -> 2.3 million pixels/s."""
    largest = max((value for value in values if value), default=0.0)
    for factor, word in ((1e9, "billion "), (1e6, "million "), (1e3, "thousand ")):
        if largest >= factor:
            return word + unit, [None if value is None else value / factor for value in values]
    return unit, list(values)


def write_csv(data: pd.DataFrame) -> bytes:
    """Return a frame as CSV: text cells made safe for spreadsheets, numbers untouched, absent ones empty."""
    safe = data.copy()
    for name in safe.columns:
        safe[name] = safe[name].map(lambda cell: escape_csv(cell) if isinstance(cell, str) else cell)
    safe.columns = pd.Index([escape_csv(str(name)) for name in safe.columns])
    text: str = safe.to_csv(index=False, lineterminator="\n")
    return text.encode()


def write_markdown(table: Table) -> str:
    """Return a table as a Markdown pipe table, the marked rows in bold."""
    columns = [format_column(column) for column in table.columns]
    lines = [
        "| " + " | ".join(escape_markdown(column.header) for column in table.columns) + " |",
        "| " + " | ".join(":---" if column.style == "text" else "---:" for column in table.columns) + " |",
    ]
    for index in range(len(columns[0]) if columns else 0):
        cells = [escape_markdown(column[index]) for column in columns]
        if index in table.marked:
            cells[0] = f"**{cells[0]}**"
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
