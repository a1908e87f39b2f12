"""How robust an optimizer is to a wrong setting: the shape of what its search saw."""

from __future__ import annotations

from collections.abc import Sequence

from bench.report.chapter import Block
from bench.report.look import assign_looks
from bench.report.plot.heat import draw_heat
from bench.report.plot.ranges import draw_ranges
from bench.report.plot.robustness import draw_robustness
from bench.report.sweep import Sweep

TITLE = "Learning-rate robustness"


def show(sweep: Sweep) -> Sequence[Block] | str:
    """Return per arena the loss over learning rate, and over pairs of settings where two were varied."""
    looks = assign_looks(sweep)
    drawn = [
        figure
        for arena in sweep.arenas
        for figure in (draw_robustness(arena, looks), draw_ranges(arena, looks), draw_heat(arena))
    ]
    figures = [figure for figure in drawn if figure is not None]
    return figures or "No learning rate was searched in this sweep (search=none)."
