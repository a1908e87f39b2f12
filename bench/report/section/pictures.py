"""What was learned, for the eye."""

from __future__ import annotations

from collections.abc import Sequence

from bench.report.alone import group_by_task, name_some
from bench.report.chapter import Block, Text
from bench.report.plot.pictures import draw_pictures, has_pictures
from bench.report.sweep import Sweep

TITLE = "What was learned"
# Pictures are most of a page's size.
_MAX_FIGURES = 6


def show(sweep: Sweep) -> Sequence[Block] | str:
    """Return one figure per task whose runs left pictures, of the first few tasks."""
    blocks: list[Block] = []
    left_out: list[str] = []
    for arenas in group_by_task(sweep.arenas):
        if len(blocks) == _MAX_FIGURES:
            left_out += [arena.name for arena in arenas] * has_pictures(arenas)
            continue
        figure = draw_pictures(arenas)
        if figure is not None:
            blocks.append(figure)
    if left_out:
        blocks.append(Text(text=f"Not shown, to keep the page small: {name_some(left_out)}."))
    return blocks or "No run of this sweep left a picture: its data are no images to draw."
