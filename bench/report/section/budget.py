"""What tuning costs and buys: how good an optimizer is when little is spent on its settings."""

from __future__ import annotations

from collections.abc import Sequence

from bench.report.chapter import Block
from bench.report.look import assign_looks
from bench.report.plot.budget import draw_budget
from bench.report.sweep import Sweep

TITLE = "Cost of tuning"


def show(sweep: Sweep) -> Sequence[Block] | str:
    """Return one figure per arena that was searched."""
    looks = assign_looks(sweep)
    figures = [figure for arena in sweep.arenas if (figure := draw_budget(arena, looks)) is not None]
    return figures or "No setting was searched in this sweep (search=none)."
