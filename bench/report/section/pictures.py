"""What was learned, for the eye."""

from __future__ import annotations

from collections.abc import Sequence

from bench.report.alone import group_by_task, name_some
from bench.report.chapter import Block, Figure, Text
from bench.report.plot.pictures import draw_pictures, has_pictures
from bench.report.sweep import Sweep

TITLE = "What was learned"
# Pictures would be most of a page: no further figure once there are so many, or so many bytes of them.
_MAX_FIGURES, _MAX_BYTES = 6, 800_000


def show(sweep: Sweep) -> Sequence[Block] | str:
    """Return one figure per task whose runs left pictures, of the first few tasks."""
    figures: list[Figure] = []
    left_out: list[str] = []
    for arenas in group_by_task(sweep.arenas):
        if len(figures) == _MAX_FIGURES or sum(len(each.png) for each in figures) > _MAX_BYTES:
            left_out += [arena.name for arena in arenas] * has_pictures(arenas)
        elif (figure := draw_pictures(arenas)) is not None:
            figures.append(figure)
    rest = [Text(text=f"Not shown, to keep the page small: {name_some(left_out)}.")] if left_out else []
    return [*figures, *rest] or "No run of this sweep left a picture: its data are no images to draw."
