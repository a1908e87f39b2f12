"""How the loss of one cell is drawn along its runs: the median of the seeds, and the band they span."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd
from matplotlib.axes import Axes

from bench.report.look import FAINT, INK, Look, name_label, name_series, set_log
from bench.report.sweep import Arena, Cell, finite

_MAX_POINTS = 200

Axis = Literal["step", "elapsed_s"]


@dataclass(frozen=True, kw_only=True)
class Line:
    """The median of a cell's seeds, and the band they span."""

    cell: Cell
    # What stands at its end.
    label: str
    look: Look
    is_reference: bool
    x: list[float]
    median: list[float]
    low: list[float]
    high: list[float]
    # How the first seed that did not finish ended; None when all did.
    trouble: str | None


def trace(cell: Cell, axis: Axis, label: str, look: Look, *, is_reference: bool = False) -> Line | None:
    """Return a cell's line up to where its first seed ends: beyond, only survivors would be left.

    Args:
        cell: Whose validation loss.
        axis: What runs along x: the step, or the training time in seconds.
        label: What it is called.
        look: How it is drawn.
        is_reference: Whether it is what the others are compared with.

    Returns:
        The line, or None when its runs left no curve.
    """
    curves = [end.result.curve for end in cell.ends if end.result is not None and end.result.curve.step]
    if not curves or any(end.result is None for end in cell.ends):
        return None
    line = Line(
        cell=cell,
        label=label,
        look=look,
        is_reference=is_reference,
        x=[],
        median=[],
        low=[],
        high=[],
        trouble=_find_trouble(cell),
    )
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


def find_limits(lines: Sequence[Line]) -> tuple[float, float]:
    """Return the highest and lowest loss to show: an explosion is cut at twice the highest first loss."""
    ceiling = 2 * max(line.high[0] for line in lines)
    shown = [value for line in lines for value in (*line.high, *line.low) if value <= ceiling or ceiling <= 0]
    return max(shown), min(shown)


def draw_lines(axes: Axes, lines: Sequence[Line], limits: tuple[float, float], label: str) -> None:
    """Draw lines and scale their axes; a wide span of losses is shown on a log scale."""
    top, bottom = limits
    for line in lines:
        _draw_line(axes, line)
    if bottom > 0 and top / bottom > 10:
        set_log(axes, bottom, top)
        axes.set_ylim(bottom / 1.15, top * 1.15)
    else:
        span = (top - bottom) or abs(top) or 1.0
        axes.set_ylim(bottom - 0.05 * span, top + 0.05 * span)
    axes.set_xlabel(label)
    axes.set_ylabel("validation loss")
    axes.set_xmargin(0.01)


def _draw_line(axes: Axes, line: Line) -> None:
    every = -(-len(line.x) // _MAX_POINTS)
    keep = [*range(0, len(line.x) - 1, every), len(line.x) - 1]
    x, median = [line.x[index] for index in keep], [line.median[index] for index in keep]
    low, high = [line.low[index] for index in keep], [line.high[index] for index in keep]
    look, gid = line.look, name_series(line.label)
    axes.fill_between(x, low, high, color=look.colour, alpha=0.14, linewidth=0, gid=gid)
    axes.plot(
        x,
        median,
        color=look.colour,
        marker=look.marker,
        markersize=7 if line.is_reference else 5,
        markevery=max(1, len(x) // 8),
        linewidth=1.8,
        linestyle=(0, (4, 2)) if look.is_dashed else "-",
        zorder=3 if line.is_reference else 2,
        gid=gid,
    )
    if line.trouble:
        axes.plot(
            x[-1],
            median[-1],
            marker="x",
            markersize=11,
            markeredgewidth=2.5,
            color=look.colour,
            zorder=4,
            gid=gid,
        )


def label_lines(axes: Axes, lines: Sequence[Line], columns: int = 26) -> None:
    """Write each line's name at the right, of so many letters, level with its end where there is room."""
    _, right = axes.get_xlim()
    axes.set_xlim(axes.get_xlim())
    to_axes = axes.transData + axes.transAxes.inverted()
    levels = [min(1.0, float(to_axes.transform((line.x[-1], line.median[-1]))[1])) for line in lines]
    ends = sorted(zip(levels, lines, strict=True), key=lambda pair: (pair[0], pair[1].label))
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
            line.look.marker,
            transform=axes.transAxes,
            color=line.look.colour,
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
            name_label(line.label, columns) + suffix,
            transform=axes.transAxes,
            va="center",
            fontsize=9,
            color=INK,
        )


def collect_curves(arenas: Sequence[Arena]) -> pd.DataFrame:
    """Return every point of every curve: one row per arena, optimizer, seed and evaluation."""
    rows = []
    for arena in arenas:
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
