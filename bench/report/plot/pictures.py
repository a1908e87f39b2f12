"""What the models learned, where that can be seen: the original beside each optimizer's picture of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.image import imread

from bench.report.chapter import Figure
from bench.report.escape import slug
from bench.report.look import INK, finish, name_label, new_drawing, styled
from bench.report.sweep import Arena, Cell, RunEnd

ORIGINAL, LEARNED = "original.png", "learned.png"
_MAX_PICTURE_BYTES = 16 * 2**20
_MAX_PICTURES = 11


def draw_pictures(arena: Arena) -> Figure | None:
    """Draw the original and what each optimizer learned of it with seed 0; None without pictures."""
    found = [(cell, end) for cell in arena.cells if (end := _first_seed(cell)) is not None]
    original = next((image for _, end in found if (image := _read(end, ORIGINAL)) is not None), None)
    learned = [(cell, end, image) for cell, end in found if (image := _read(end, LEARNED)) is not None]
    if original is None or not learned:
        return None
    left_out = len(learned) - _MAX_PICTURES
    learned = learned[:_MAX_PICTURES]
    titles = ["original", *(_describe(cell, end) for cell, end, _ in learned)]
    with styled():
        # Four in a row where that leaves no picture alone.
        columns = min(4 if len(titles) in (4, 7, 8) else 3, len(titles))
        rows = -(-len(titles) // columns)
        height, width = original.shape[:2]
        # Room for the two lines of title above each picture.
        drawing, all_axes = new_drawing(
            3.1 * columns, rows * (3.1 * height / width + 0.5), len(titles), columns
        )
        for axes, title, image in zip(
            all_axes, titles, [original, *(image for *_, image in learned)], strict=True
        ):
            # The pixels are the result: they are not smoothed.
            axes.imshow(image, interpolation="nearest", cmap="gray", vmin=0, vmax=1)
            axes.set_axis_off()
            axes.set_title(title, fontsize=9, fontweight="normal", color=INK)
        return finish(
            drawing,
            name=f"pictures_{slug(arena.name)}",
            caption=f"{arena.name}: the original, and what each optimizer's model drew after seed 0"
            + (f"; {left_out} more are left out." if left_out > 0 else "."),
            alt=f"Pictures learned on {arena.name}: "
            + "; ".join(title.replace("\n", ", ") for title in titles[1:]),
            data=pd.DataFrame(
                [
                    {
                        "arena": arena.name,
                        "optimizer": cell.label,
                        "seed": end.run.seed,
                        "val_loss": end.val_loss,
                        "psnr_db": end.result.val_metrics.get("psnr_db") if end.result else None,
                    }
                    for cell, end, _ in learned
                ]
            ),
            is_picture=True,
        )


def _first_seed(cell: Cell) -> RunEnd | None:
    return next(
        (end for end in cell.ends if end.run.seed == 0 and end.folder and end.val_loss is not None), None
    )


def _read(end: RunEnd, name: str) -> Any:
    """Return a picture as an array, or None: the two names are fixed, whatever a stored result lists."""
    if end.folder is None or end.result is None or name not in end.result.artifacts:
        return None
    path: Path = end.folder / name
    try:
        if path.stat().st_size > _MAX_PICTURE_BYTES:
            return None
        return imread(path, format="png")
    except (OSError, SyntaxError, ValueError):
        # Pillow's words for a damaged PNG; the numbers do not depend on it.
        return None


def _describe(cell: Cell, end: RunEnd) -> str:
    numbers = [f"val loss {end.val_loss:#.3g}"]
    psnr = end.result.val_metrics.get("psnr_db") if end.result else None
    if psnr is not None:
        numbers.insert(0, f"{psnr:.1f} dB")
    return f"{name_label(cell.label, 34)}\n{', '.join(numbers)}"
