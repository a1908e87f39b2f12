"""How the loss fell, over steps and over time."""

from __future__ import annotations

from collections.abc import Sequence

from bench.report.alone import ALONE, split_alone
from bench.report.chapter import Block, Heading
from bench.report.look import assign_looks
from bench.report.plot.curves import draw_curves, draw_curves_alone
from bench.report.sweep import Sweep

TITLE = "Training curves"


def show(sweep: Sweep) -> Sequence[Block] | str:
    """Return two figures per arena, and one of all arenas in which one optimizer ran alone."""
    looks = assign_looks(sweep)
    apart, alone = split_alone(sweep)
    drawn = [draw_curves(arena, looks, axis) for arena in apart for axis in ("step", "elapsed_s")]
    blocks: list[Block] = [figure for figure in drawn if figure is not None]
    figure = draw_curves_alone(alone) if alone else None
    if figure is not None:
        blocks += [Heading(text=ALONE), figure]
    return blocks or "No run left a curve."
