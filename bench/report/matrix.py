"""Many arenas in the terminal: one line each, a column an optimizer, cut until it fits."""

from __future__ import annotations

from collections.abc import Sequence

from bench.report.compact import compact_names
from bench.report.effects import format_effect
from bench.report.escape import measure, shorten
from bench.report.heading import MAX_COLUMNS
from bench.report.suite import Entry, Row, Suite, show_gap

_ARENA_WIDTH = 22
_LABEL_WIDTH = 16
_WORDS = {"inconclusive": "inconcl."}
# Where words don't fit.
_MARKS = {
    "better": "b",
    "worse": "w",
    "tied": "t",
    "leaning": "l",
    "inconclusive": "?",
    "no claim": "n",
    "unstable": "u",
    "missing": "m",
    "not run": "-",
}


def write_matrix(suite: Suite, space: int) -> list[str]:
    """Return a legend, a header and one line for each arena, at most as many as there is space for."""
    rows = suite.rows if len(suite.rows) <= space - 2 else suite.rows[: max(0, space - 3)]
    has_gaps = any(show_gap(row) for row in rows)
    is_marked, labels = False, list(suite.labels)
    lines = _lay_out(rows, labels, is_marked=is_marked, has_gaps=has_gaps)
    if _is_wide(lines):
        is_marked = True
        lines = _lay_out(rows, labels, is_marked=is_marked, has_gaps=has_gaps)
    while _is_wide(lines) and len(labels) > 1:
        labels.pop()
        lines = _lay_out(rows, labels, is_marked=is_marked, has_gaps=has_gaps)
    legend = _explain(suite, rows, labels, is_marked=is_marked, has_gaps=has_gaps)
    rest = len(suite.rows) - len(rows)
    more = [f"... {rest} more arena{'s' * (rest != 1)} in the report"] if rest else []
    return [legend, *lines, *more]


def _is_wide(lines: Sequence[str]) -> bool:
    return any(measure(line) > MAX_COLUMNS for line in lines)


def _explain(
    suite: Suite, rows: Sequence[Row], labels: Sequence[str], *, is_marked: bool, has_gaps: bool
) -> str:
    """Return what the columns hold, the most needed first."""
    untuned = "" if all(row.arena.is_searched for row in rows) else "untuned; "
    parts = [f"{untuned}{shorten(suite.labels[0], _LABEL_WIDTH)}: val loss; the others: % against it"]
    if is_marked:
        kinds = dict.fromkeys(
            entry.kind for row in rows for label in labels if (entry := row.entries.get(label)) is not None
        )
        parts.append(", ".join(f"{_MARKS[kind]} {kind}" for kind in kinds if kind in _MARKS))
    if hidden := len(suite.labels) - len(labels):
        parts.append(f"{hidden} more optimizer{'s' * (hidden != 1)} in the report")
    if has_gaps:
        parts.append("tells: gap its seeds see unpaired")
    if any(row.floor is not None and row.floor.is_control for row in rows):
        parts.append("(c): control")
    line = parts[0]
    for part in parts[1:]:
        if measure(line) + 2 + measure(part) <= MAX_COLUMNS:
            line += f"; {part}"
    return shorten(line, MAX_COLUMNS)


def _lay_out(rows: Sequence[Row], labels: Sequence[str], *, is_marked: bool, has_gaps: bool) -> list[str]:
    short, settings = compact_names([row.arena.name for row in rows], _ARENA_WIDTH)
    names = [
        short[row.arena.name] + (" (c)" if row.floor is not None and row.floor.is_control else "")
        for row in rows
    ]
    columns = [[shorten(f"arena {settings}", 30), *names]]
    titles, _ = compact_names(labels, _LABEL_WIDTH)
    for label in labels:
        cells = [_split(row, row.entries.get(label), is_marked=is_marked) for row in rows]
        numbers = max((measure(number) for number, _ in cells), default=0)
        # A verdict without a number stands where the words do.
        joined = [f"{number:>{numbers}}{word}".rstrip() for number, word in cells]
        columns.append([titles[label], *joined])
    if has_gaps:
        columns.append(["tells", *(show_gap(row) or "-" for row in rows)])
    widths = [max(map(measure, column)) for column in columns]
    lines = []
    for cells_of_row in zip(*columns, strict=True):
        padded = [
            cell + " " * (width - measure(cell)) for cell, width in zip(cells_of_row, widths, strict=True)
        ]
        lines.append("  ".join(padded).rstrip())
    return lines


def _split(row: Row, entry: Entry | None, *, is_marked: bool) -> tuple[str, str]:
    """Return an entry's number and its word, the space between them included."""
    if entry is None:
        return "", ""
    if entry.kind == "reference":
        return "-" if entry.val_loss is None else f"{entry.val_loss:.4g}", ""
    number = "" if entry.effect is None else format_effect(row.arena, entry.effect)
    if is_marked:
        return number, _MARKS[entry.kind]
    return number, " " + _WORDS.get(entry.kind, entry.kind)
