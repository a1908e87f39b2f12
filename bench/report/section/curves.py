"""How the loss fell, over steps and over time."""

from __future__ import annotations

from collections.abc import Sequence

from bench.report.chapter import Block
from bench.report.look import assign_looks
from bench.report.plot.curves import draw_curves
from bench.report.sweep import Sweep

TITLE = "Training curves"


def show(sweep: Sweep) -> Sequence[Block] | str:
    """Return two figures per arena."""
    looks = assign_looks(sweep)
    drawn = [draw_curves(arena, looks, axis) for arena in sweep.arenas for axis in ("step", "elapsed_s")]
    figures = [figure for figure in drawn if figure is not None]
    return figures or "No run left a curve."
