"""What the models learned, where that can be seen: the original beside each optimizer's picture of it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Drawing
from matplotlib.image import imread
from PIL import Image

from bench.report.alone import mean_loss, name_task, shorten_names, spread
from bench.report.chapter import Figure
from bench.report.escape import slug
from bench.report.look import DPI, INK, finish, name_label, styled
from bench.report.sweep import Arena, Cell, RunEnd

ORIGINAL, LEARNED = "original.png", "learned.png"
_MAX_PICTURE_BYTES = 16 * 2**20
# Of one arena, where all are compared; of several, where some show what their settings do.
_MAX_PICTURES, _MAX_OF_SEVERAL = 11, 7
# Pixels: the widest a picture is shown, the room above it for two lines of title, and that around it.
_MAX_WIDTH, _TITLE, _GAP = 480, 48, 12
# Of each colour, when shown: two thirds of the bytes that 256 take, and nothing to be seen.
_LEVELS = 64


@dataclass(frozen=True, kw_only=True)
class _Picture:
    name: str
    arena: Arena
    cell: Cell
    end: RunEnd

    @property
    def psnr_db(self) -> float | None:
        return self.end.result.val_metrics.get("psnr_db") if self.end.result else None

    @property
    def numbers(self) -> str:
        psnr = "" if self.psnr_db is None else f"{self.psnr_db:.1f} dB, "
        return f"{psnr}val loss {self.end.val_loss:#.3g}"


def draw_pictures(arenas: Sequence[Arena]) -> Figure | None:
    """Draw the original and what each optimizer learned of it with seed 0; None without pictures.

    Args:
        arenas: Of one task, whose original they share. Of more than one arena some pictures are shown, evenly
            spaced from the lowest to the highest final loss.
    """
    is_one = len(arenas) == 1
    learned = _find(arenas)
    shown = learned[:_MAX_PICTURES] if is_one else spread(learned, _MAX_OF_SEVERAL)
    original = next((image for each in shown if (image := _read(each.end, ORIGINAL)) is not None), None)
    pictures = [(each, image) for each in shown if (image := _read(each.end, LEARNED)) is not None]
    if original is None or not pictures:
        return None
    title = name_task(arenas)
    left_out = len(learned) - len(shown)
    part = f"; {left_out} more are left out" * (left_out > 0)
    if not is_one:
        part = f", in the order of their final loss; {len(shown)} of {len(learned)} cells"
        part += ", evenly spaced from the lowest to the highest" * (left_out > 0)
    titled = [("original", "", original), *((each.name, each.numbers, image) for each, image in pictures)]
    kind = "optimizer" if is_one else "cell"
    with styled():
        figure = finish(
            _draw(titled),
            name=f"pictures_{slug(title)}",
            caption=f"{title}: the original, and what each {kind}'s model drew after seed 0{part}.",
            alt=f"Pictures learned on {title}: "
            + "; ".join(f"{each.name}, {each.numbers}" for each, _ in pictures),
            data=pd.DataFrame(
                [
                    {
                        "arena": each.arena.name,
                        "optimizer": each.cell.label,
                        "seed": each.end.run.seed,
                        "val_loss": each.end.val_loss,
                        "psnr_db": each.psnr_db,
                    }
                    for each in learned
                ]
            ),
            is_picture=True,
        )
    return replace(figure, png=_pack(figure.png))


def has_pictures(arenas: Sequence[Arena]) -> bool:
    """Return whether runs of these arenas say that they left pictures."""
    return bool(_find(arenas))


def _find(arenas: Sequence[Arena]) -> list[_Picture]:
    """Return what left a picture: of one arena in its order, of several by mean final loss."""
    short = shorten_names(arenas)
    pictures = []
    for arena in arenas:
        for cell in arena.cells:
            end = next((each for each in cell.ends if each.run.seed == 0 and each.val_loss is not None), None)
            if end is None or end.result is None or LEARNED not in end.result.artifacts:
                continue
            # What ran alone needs no name but its arena's.
            parts = [short[arena.name]] * (len(arenas) > 1) + [cell.label] * (len(arena.cells) > 1)
            name = " ".join(parts) or cell.label
            pictures.append(_Picture(name=name, arena=arena, cell=cell, end=end))
    return (
        pictures if len(arenas) == 1 else sorted(pictures, key=lambda each: (mean_loss(each.cell), each.name))
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


def _draw(pictures: Sequence[tuple[str, str, Any]]) -> Drawing:
    """Return pictures in rows, a whole number of dots for each of their pixels, under name and numbers."""
    images = [_fit(image) for *_, image in pictures]
    zoom = max(1, _MAX_WIDTH // max(image.shape[1] for image in images))
    width, height = (zoom * max(image.shape[side] for image in images) for side in (1, 0))
    # Four in a row where that leaves no picture alone.
    columns = min(4 if len(pictures) in (4, 7, 8) else 3, len(pictures))
    rows = -(-len(pictures) // columns)
    full = (_GAP + columns * (width + _GAP), _GAP + rows * (_TITLE + height + _GAP))
    drawing = Drawing(figsize=(full[0] / DPI, full[1] / DPI))
    FigureCanvasAgg(drawing)
    for index, ((name, numbers, _), image) in enumerate(zip(pictures, images, strict=True)):
        row, column = divmod(index, columns)
        left, low = _GAP + column * (width + _GAP), full[1] - (row + 1) * (_TITLE + height + _GAP)
        axes = drawing.add_axes((left / full[0], low / full[1], width / full[0], height / full[1]))
        # The pixels are the result: they are not smoothed.
        axes.imshow(image, interpolation="none", cmap="gray", vmin=0, vmax=1)
        axes.set_axis_off()
        label = f"{name_label(name, width // 9)}\n{numbers}".rstrip()
        axes.set_title(label, fontsize=7.5, fontweight="normal", color=INK, pad=3)
    return drawing


def _fit(image: Any) -> Any:
    """Return a picture no wider than is shown, by averaging blocks, in as many levels as are shown."""
    block = -(-image.shape[1] // _MAX_WIDTH)
    height, width = (size // block for size in image.shape[:2])
    blocks = image[: height * block, : width * block].reshape(height, block, width, block, -1)
    averaged = np.asarray(blocks.mean(axis=(1, 3)))
    levels = np.round(averaged * (_LEVELS - 1)) / (_LEVELS - 1)
    return levels[..., 0] if levels.shape[-1] == 1 else levels


def _pack(png: bytes) -> bytes:
    """Return a PNG without its alpha channel, which says nothing here, as small as it gets."""
    stream = io.BytesIO()
    with Image.open(io.BytesIO(png)) as picture:
        picture.convert("RGB").save(stream, format="PNG", optimize=True)
    return stream.getvalue()
