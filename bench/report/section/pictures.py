"""What was learned, for the eye."""

from __future__ import annotations

from collections.abc import Sequence

from bench.report.chapter import Block
from bench.report.plot.pictures import draw_pictures
from bench.report.sweep import Sweep

TITLE = "What was learned"


def show(sweep: Sweep) -> Sequence[Block] | str:
    """Return one panel per arena whose runs left pictures."""
    figures = [figure for arena in sweep.arenas if (figure := draw_pictures(arena)) is not None]
    return figures or "No run of this sweep left a picture: its data are no images to draw."
