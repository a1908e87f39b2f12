"""Validation loss along a run, over steps and over time: the median of the seeds, and the band they span."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd
from matplotlib.axes import Axes

from bench.report.chapter import Figure
from bench.report.escape import slug
from bench.report.look import FAINT, INK, Look, finish, name_label, new_drawing, set_log, styled
from bench.report.sweep import Arena, Cell, finite

# More lines on one axes can't be told apart.
MAX_LINES = 6
_MAX_POINTS = 300
AXIS_LABELS = {"step": "step", "elapsed_s": "training time (s)"}


@dataclass(frozen=True, kw_only=True)
class _Line:
    cell: Cell
    x: list[float]
    median: list[float]
    low: list[float]
    high: list[float]
    # How the first seed that did not finish ended; None when all did.
    trouble: str | None


def draw_curves(arena: Arena, looks: dict[str, Look], axis: Literal["step", "elapsed_s"]) -> Figure | None:
    """Draw an arena's validation curves.

    Args:
        arena: Cells to draw; more than six are spread over several axes, each with the reference.
        looks: Label -> look.
        axis: What runs along x: the step, or the training time in seconds.

    Returns:
        The figure, or None when no run has a curve.
    """
    lines = [line for cell in arena.cells if (line := _trace(cell, axis)) is not None]
    if not lines:
        return None
    panels = _split(lines, arena.reference)
    top, bottom = _find_limits(lines)
    with styled():
        drawing, all_axes = new_drawing(6.4, 3.9 * len(panels), len(panels))
        for axes, panel in zip(all_axes, panels, strict=True):
            for line in panel:
                _draw_line(axes, line, looks[line.cell.label], line.cell is arena.reference)
            if bottom > 0 and top / bottom > 10:
                set_log(axes, bottom, top)
                axes.set_ylim(bottom / 1.15, top * 1.15)
            else:
                span = (top - bottom) or abs(top) or 1.0
                axes.set_ylim(bottom - 0.05 * span, top + 0.05 * span)
            axes.set_xlabel(AXIS_LABELS[axis])
            axes.set_ylabel("validation loss")
            axes.set_xmargin(0.01)
            _label_lines(axes, panel, looks)
        all_axes[0].set_title(f"{name_label(arena.name, 48)}: loss over {AXIS_LABELS[axis]}")
        num_seeds = max(len(line.cell.ends) for line in lines)
        what = "steps" if axis == "step" else "time"
        caveat = (
            ""
            if axis == "step"
            else " Time is that of the runs, which may have shared the machine: it makes no verdict."
        )
        cut = " A line ends in a cross where its first seed diverged or failed." * any(
            line.trouble for line in lines
        )
        return finish(
            drawing,
            name=f"{'curves' if axis == 'step' else 'time'}_{slug(arena.name)}",
            caption=f"{arena.name}: validation loss over {what}; median line and min-max band of "
            f"{num_seeds} seed{'s' * (num_seeds != 1)}. The dashed black line is the reference "
            f"{arena.reference.label}.{cut}{caveat}",
            alt=f"Line chart of validation loss over {what} on {arena.name}. At the end: "
            + "; ".join(f"{line.cell.label} {line.median[-1]:.3g}" for line in lines),
            data=_collect(arena),
        )


def _trace(cell: Cell, axis: str) -> _Line | None:
    """Return a cell's median line up to where its first seed ends: beyond, only survivors would be left."""
    curves = [end.result.curve for end in cell.ends if end.result is not None and end.result.curve.step]
    if not curves or any(end.result is None for end in cell.ends):
        return None
    line = _Line(cell=cell, x=[], median=[], low=[], high=[], trouble=_find_trouble(cell))
    for row in range(min(len(curve.step) for curve in curves)):
        losses = [finite(curve.val_loss[row]) for curve in curves]
        known = [loss for loss in losses if loss is not None]
        if len(known) < len(curves) or len({curve.step[row] for curve in curves}) > 1:
            break
        line.x.append(statistics.median([getattr(curve, axis)[row] for curve in curves]))
        line.median.append(statistics.median(known))
        line.low.append(min(known))
        line.high.append(max(known))
    return line if line.x else None


def _find_trouble(cell: Cell) -> str | None:
    if cell.count("diverged"):
        return "diverged"
    return next((end.status for end in cell.ends if end.val_loss is None), None)


def _split(lines: list[_Line], reference: Cell) -> list[list[_Line]]:
    if len(lines) <= MAX_LINES:
        return [lines]
    held = [line for line in lines if line.cell is reference]
    others = [line for line in lines if line.cell is not reference]
    size = MAX_LINES - len(held)
    return [[*held, *others[start : start + size]] for start in range(0, len(others), size)]


def _find_limits(lines: Sequence[_Line]) -> tuple[float, float]:
    """Return the highest and lowest loss to show: an explosion is cut at twice the highest first loss."""
    ceiling = 2 * max(line.high[0] for line in lines)
    shown = [value for line in lines for value in (*line.high, *line.low) if value <= ceiling or ceiling <= 0]
    return max(shown), min(shown)


def _draw_line(axes: Axes, line: _Line, look: Look, is_reference: bool) -> None:
    every = -(-len(line.x) // _MAX_POINTS)
    keep = [*range(0, len(line.x) - 1, every), len(line.x) - 1]
    x, median = [line.x[index] for index in keep], [line.median[index] for index in keep]
    low, high = [line.low[index] for index in keep], [line.high[index] for index in keep]
    axes.fill_between(x, low, high, color=look.colour, alpha=0.14, linewidth=0)
    axes.plot(
        x,
        median,
        color=look.colour,
        marker=look.marker,
        markersize=7 if is_reference else 5,
        markevery=max(1, len(x) // 8),
        linewidth=1.8,
        linestyle=(0, (4, 2)) if look.is_dashed else "-",
        zorder=3 if is_reference else 2,
    )
    if line.trouble:
        axes.plot(
            x[-1], median[-1], marker="x", markersize=11, markeredgewidth=2.5, color=look.colour, zorder=4
        )


def _label_lines(axes: Axes, panel: Sequence[_Line], looks: dict[str, Look]) -> None:
    """Write each line's name at the right, level with its end where there is room."""
    _, right = axes.get_xlim()
    axes.set_xlim(axes.get_xlim())
    to_axes = axes.transData + axes.transAxes.inverted()
    levels = [min(1.0, float(to_axes.transform((line.x[-1], line.median[-1]))[1])) for line in panel]
    ends = sorted(zip(levels, panel, strict=True), key=lambda pair: (pair[0], pair[1].cell.label))
    gap = 0.062
    heights: list[float] = []
    for height, _ in ends:
        heights.append(max(height, heights[-1] + gap) if heights else height)
    # What rose past the top moves down again, and pushes those below it.
    ceiling = 1.0
    for index in range(len(heights) - 1, -1, -1):
        heights[index] = min(heights[index], ceiling)
        ceiling = heights[index] - gap
    for (level, line), height in zip(ends, heights, strict=True):
        look = looks[line.cell.label]
        axes.plot(
            [1.005, 1.03],
            [level, height],
            transform=axes.transAxes,
            color=FAINT,
            linewidth=0.7,
            clip_on=False,
        )
        axes.plot(
            [1.05],
            [height],
            look.marker,
            transform=axes.transAxes,
            color=look.colour,
            markersize=6,
            clip_on=False,
        )
        suffix = f" ({line.trouble})" if line.trouble else ""
        if line.x[-1] < right:
            axes.plot(
                [line.x[-1], right],
                [line.median[-1]] * 2,
                color=FAINT,
                linewidth=0.7,
                linestyle=":",
                zorder=1,
            )
        axes.text(
            1.075,
            height,
            name_label(line.cell.label) + suffix,
            transform=axes.transAxes,
            va="center",
            fontsize=9,
            color=INK,
        )


def _collect(arena: Arena) -> pd.DataFrame:
    rows = []
    for cell in arena.cells:
        for end in cell.ends:
            if end.result is None:
                continue
            curve = end.result.curve
            columns = (curve.step, curve.elapsed_s, curve.train_loss, curve.val_loss)
            for step, elapsed_s, train_loss, val_loss in zip(*columns, strict=True):
                rows.append((arena.name, cell.label, end.run.seed, step, elapsed_s, train_loss, val_loss))
    names = ["arena", "optimizer", "seed", "step", "elapsed_s", "train_loss", "val_loss"]
    return pd.DataFrame(rows, columns=names)
