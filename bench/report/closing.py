"""The lines around the terminal's table: what could not run, what several arenas say, what seeds can tell."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from bench.report.concern import find_not_run
from bench.report.escape import clean, shorten
from bench.report.heading import MAX_COLUMNS, shorten_line
from bench.report.power import describe_floor, find_floor, has_open
from bench.report.sweep import Arena, Sweep
from bench.report.unbeaten import write_headline
from bench.report.verdict import judge

_MAX_NOT_RUN_LINES = 4


def write_not_run(sweep: Sweep) -> list[str]:
    """Return what could not run here: two lines for a reason at most, since its remedy stands at the end."""
    lines: list[str] = []
    concerns = find_not_run(sweep)
    for index, concern in enumerate(concerns):
        own = textwrap.wrap(
            clean(concern.brief),
            MAX_COLUMNS - 2,
            subsequent_indent="  ",
            break_on_hyphens=False,
            max_lines=2,
            placeholder=" ..",
        )
        rest = len(concerns) - index - 1
        if len(lines) + len(own) + bool(rest) > _MAX_NOT_RUN_LINES:
            return [
                *lines,
                f"+{rest + 1} more reason{'s' * (rest > 0)} why something was not run, in the report",
            ]
        lines += [shorten_line(line) for line in own]
    return lines


def list_remarks(arenas: Sequence[Arena]) -> list[str]:
    """Return what several arenas say together, and what one arena's seeds can tell: at most one line each."""
    remarks: list[str] = []
    headline = write_headline(arenas, MAX_COLUMNS)
    if headline is not None:
        remarks.append(shorten(headline, MAX_COLUMNS))
    floors = [(floor, has_open(judge(arena))) for arena in arenas if (floor := find_floor(arena)) is not None]
    for floor, is_open in floors:
        # Of several, one in which something was left open.
        if is_open or len(arenas) == 1:
            remarks.append(shorten(describe_floor(floor, is_open=is_open, columns=MAX_COLUMNS), MAX_COLUMNS))
            break
    return remarks
