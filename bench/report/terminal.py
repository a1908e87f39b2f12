"""The block that ends a command: what came out, how sure it is, and where the rest is, in one glance."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.report.at_best import list_lines, lists_settings, make_best_suite
from bench.report.closing import list_remarks, write_not_run
from bench.report.compact import compact_names
from bench.report.comparison import MIB, Row, make_rows
from bench.report.concern import find_concerns
from bench.report.cost_line import write_noise_line, write_price_line
from bench.report.effects import format_effects
from bench.report.escape import clean, measure, shorten
from bench.report.factor_lines import write_effects
from bench.report.heading import MAX_COLUMNS, shorten_line, write_basis, write_header
from bench.report.matrix import write_matrix
from bench.report.noise import is_noise
from bench.report.noise_table import write_noise
from bench.report.suite import Suite, make_suite
from bench.report.sweep import Arena, Concern, Sweep
from bench.report.tables import ABSENT, format_fixed
from bench.report.tuning import format_lr

MAX_LINES = 16
# Of a sweep over more arenas than fit row by row: one line each.
MAX_SUITE_LINES = 24
# The rest goes to the table, once this much is left for warnings.
_MIN_WARNING_LINES = 5
_MIN_SUITE_WARNING_LINES = 3
_IS_TEXT = (True, True, False, True, False, False, False)
# Columns that may be cut when the table is too wide, and how short: arena, optimizer, effect and verdict.
_MIN_WIDTHS = {0: 9, 1: 12, 3: 34}
# Longer names give the keys of their settings to the header.
_NAME_WIDTH = 20


def write_block(sweep: Sweep) -> str:
    """Return the terminal block: at most 16 lines of 100 columns, 24 for a suite; the last one the path."""
    head = [write_header(sweep), *write_basis(sweep), ""]
    tail = [
        *write_not_run(sweep),
        "report  " + shorten(_show_path(sweep.folder / "report.html"), MAX_COLUMNS - 8),
    ]
    concerns = find_concerns(sweep)
    arenas = tuple(arena for arena in sweep.arenas if arena.obstacle is None)
    num_rows = sum(len(arena.cells) for arena in arenas)
    space = MAX_LINES - len(head) - len(tail)
    # Header and rows want this much; warnings take what is left, and at least their share.
    wanted = num_rows + 1 if num_rows else 0
    warnings = _write_warnings(concerns, max(min(_MIN_WARNING_LINES, space - 2), space - wanted))
    best = make_best_suite(sweep) if lists_settings(sweep) else None
    if is_noise(sweep) and arenas:
        table = write_noise(arenas, MAX_SUITE_LINES - len(head) - len(tail) - len(warnings))
    elif best is not None:
        space = MAX_SUITE_LINES - len(head) - len(tail)
        table = _write_best(sweep, best, space - min(len(warnings), _MIN_SUITE_WARNING_LINES))
        warnings = _write_warnings(concerns, space - len(table))
    elif wanted + len(warnings) > space and (effects := write_effects(sweep, space - len(warnings))):
        table = effects
    elif len(arenas) > 2 and wanted + len(warnings) > space:
        space = MAX_SUITE_LINES - len(head) - len(tail)
        headline = list_remarks(arenas)[:1]
        wanted = len(arenas) + 2 + len(headline)
        warnings = _write_warnings(concerns, max(_MIN_SUITE_WARNING_LINES, space - wanted))
        prices = write_price_line(sweep)
        matrix = write_matrix(make_suite(arenas), space - len(warnings) - len(headline) - len(prices))
        table = [*headline, *matrix, *prices]
    else:
        lines = [(arena, make_rows(arena)) for arena in arenas]
        table = _write_table(lines, space - len(warnings)) if num_rows else []
        # What is good to know, where nothing has to go for it.
        remarks = [*write_price_line(sweep), *list_remarks(arenas), *write_noise_line(arenas)]
        table += remarks[: max(0, space - len(warnings) - len(table))]
    return "\n".join([*head, *table, *warnings, *tail]) + "\n"


def _write_best(sweep: Sweep, suite: Suite, space: int) -> list[str]:
    """Return a line per optimizer at the best of its listed settings, or per arena where those are many."""
    remark = [
        shorten(f"{suite.choice}, by other seeds (exploratory); each of them in the report", MAX_COLUMNS)
    ]
    prices = write_price_line(sweep)
    room = space - len(remark) - len(prices)
    lines = list_lines(sweep, suite)
    if sum(len(rows) for _, rows in lines) < room:
        return [*_write_table(lines, room), *remark, *prices]
    return [*write_matrix(suite, room), *remark, *prices]


def _write_table(pairs: Sequence[tuple[Arena, tuple[Row, ...]]], space: int) -> list[str]:
    """Return the table's header and as many rows as fit: each arena's reference and best rows first."""
    arenas = [arena for arena, _ in pairs]
    by_arena = {arena.name: rows for arena, rows in pairs}
    num_rows = sum(len(rows) for rows in by_arena.values())
    num_shown = space - 1 if num_rows <= space - 1 else space - 2
    chosen = _choose_rows(by_arena, num_shown)
    has_edge = any(cell.search and cell.search.edge for arena in arenas for cell in arena.cells)
    names, of_names = compact_names([arena.name for arena in arenas], _NAME_WIDTH)
    labels, of_labels = compact_names(
        [row.cell.label for rows in by_arena.values() for row in rows], _NAME_WIDTH
    )
    claims: list[tuple[str, str]] = [_name_claim(arenas, labels)]
    headers = [shorten(f"arena {of_names}", 28), shorten(f"optimizer {of_labels}", 28)]
    lines: list[list[str]] = [[*headers, "val loss", "step ms", "peak MiB", "lr"]]
    for arena in arenas:
        rows = by_arena[arena.name]
        losses = format_fixed([row.val_loss for row in rows])
        steps = format_fixed([None if row.step_s is None else row.step_s * 1e3 for row in rows])
        peaks = format_fixed([None if row.peak_bytes is None else row.peak_bytes / MIB for row in rows])
        effects = format_effects(arena, [row.judgement for row in rows])
        for index, row in enumerate(rows):
            if (arena.name, row.cell.label) not in chosen:
                continue
            lr = format_lr(row.cell) or "-"
            # Marks stand in a column of their own, so that the numbers stay aligned.
            lr += "  " * (has_edge and not lr.endswith("!"))
            numbers = [cell.replace(ABSENT, "-") for cell in (losses[index], steps[index], peaks[index])]
            lines.append([names[arena.name], labels[row.cell.label], *numbers, lr])
            word = row.judgement.verdict
            claims.append((effects[index] or "", "" if word == "reference" else word))
    joined = [[*line[:3], claim, *line[3:]] for line, claim in zip(lines, _join_claims(claims), strict=True)]
    rest = num_rows - (len(lines) - 1)
    more = [f"... {rest} more row{'s' * (rest != 1)} in the report"] if rest else []
    return [*_align(joined), *more]


def _name_claim(arenas: Sequence[Arena], labels: Mapping[str, str]) -> tuple[str, str]:
    references = {labels[arena.reference.label] for arena in arenas}
    units = {", %" if arena.study.workload.effect == "log_ratio" else "" for arena in arenas}
    against = f"vs {shorten(references.pop(), 14)}" if len(references) == 1 else "vs reference"
    return against + (units.pop() if len(units) == 1 else ""), "verdict"


def _join_claims(claims: list[tuple[str, str]]) -> list[str]:
    """Return effect and verdict in one column; a verdict without a number may take the number's place."""
    effect_width = max(len(effect) for effect, _ in claims)
    verdict_width = max(len(verdict) for effect, verdict in claims if effect)
    joined = []
    for effect, verdict in claims:
        if effect or len(verdict) <= verdict_width:
            joined.append(f"{effect or '-':>{effect_width}}  {verdict}".rstrip())
        else:
            joined.append(f"{verdict:>{effect_width + 2 + verdict_width}}")
    return joined


def _choose_rows(by_arena: dict[str, tuple[Row, ...]], num_shown: int) -> set[tuple[str, str]]:
    """Return (arena, label) of the rows to show: round by round one more from each arena."""
    queues = []
    for name, rows in by_arena.items():
        # The reference gives the others their meaning; then best first.
        ordered = sorted(rows, key=lambda row: not row.judgement.is_reference)
        queues.append([(name, row.cell.label) for row in ordered])
    rounds = [
        queue[depth] for depth in range(max(map(len, queues))) for queue in queues if depth < len(queue)
    ]
    return set(rounds[: max(0, num_shown)])


def _align(rows: list[list[str]]) -> list[str]:
    # A column in which nothing stands leaves its room to the names.
    kept = [column for column in range(len(_IS_TEXT)) if any(row[column] != "-" for row in rows[1:])]
    widths = {column: max(measure(row[column]) for row in rows) for column in kept}
    gap = 2 if sum(widths.values()) + 2 * (len(kept) - 1) <= MAX_COLUMNS else 1
    while sum(widths.values()) + gap * (len(kept) - 1) > MAX_COLUMNS:
        room = {
            column: widths[column] - least
            for column, least in _MIN_WIDTHS.items()
            if widths.get(column, 0) > least
        }
        if not room:
            break
        widths[max(room, key=lambda column: room[column])] -= 1
    lines = []
    for row in rows:
        cells = []
        for column, width in widths.items():
            cell = row[column]
            cut = cell if measure(cell) <= width else shorten(cell, width)
            padding = " " * (width - measure(cut))
            cells.append(cut + padding if _IS_TEXT[column] else padding + cut)
        lines.append(shorten_line((" " * gap).join(cells).rstrip()))
    return lines


def _write_warnings(concerns: tuple[Concern, ...], space: int) -> list[str]:
    lines: list[str] = []
    for index, concern in enumerate(concerns):
        # A warning whose remedy is not plain from its text brings the command along.
        own = [shorten("! " + concern.brief, MAX_COLUMNS)]
        if concern.brief.endswith(":") and concern.command:
            own += _wrap_command(concern.command)
        is_last = index == len(concerns) - 1
        if len(lines) + len(own) + (not is_last) > space:
            rest = len(concerns) - index
            return [*lines, f"! +{rest} more in the report"] if space > len(lines) else lines
        lines += own
    return lines


def _wrap_command(command: str) -> list[str]:
    lines = textwrap.wrap(clean(command), MAX_COLUMNS - 6, break_long_words=True, break_on_hyphens=False)
    return [
        ("  " if index == 0 else "    ") + line + (" \\" if index < len(lines) - 1 else "")
        for index, line in enumerate(lines)
    ]


def _show_path(path: Path) -> str:
    try:
        relative = os.path.relpath(path)
    except ValueError:
        # Another drive, on Windows.
        return str(path)
    return str(path) if relative.startswith("..") else relative
