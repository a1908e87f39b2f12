"""How a map of losses over two settings is drawn: a field per combination, one scale for all panels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure as Drawing

from bench.report.look import INK, set_log

COLOURS = "cividis"
_BLANK = "#e4e7eb"

# Column and row of a field, from the lower left.
Field = tuple[int, int]


def draw_grid(
    axes: Axes,
    losses: Mapping[Field, float | str],
    ticks: tuple[Sequence[str], Sequence[str]],
    norm: Normalize,
    chosen: Field | None,
    *,
    has_values: bool = False,
) -> None:
    """Draw a grid of losses; what was never asked for stays white.

    Args:
        axes: Where.
        losses: Field -> its loss, or the word for why it has none.
        ticks: What the columns and the rows are called.
        norm: Loss -> colour.
        chosen: The field to star.
        has_values: Whether each field shows its loss as text.
    """
    columns, rows = map(len, ticks)
    values = np.full((rows, columns), np.nan)
    for (column, row), loss in losses.items():
        if isinstance(loss, str):
            axes.add_patch(mpl.patches.Rectangle((column - 0.5, row - 0.5), 1, 1, color=_BLANK, zorder=1))
            axes.text(column, row, loss, ha="center", va="center", fontsize=7, color=INK)
            continue
        values[row, column] = loss
        if has_values:
            # Beyond the scale, and in its upper part, the ground is light.
            is_light = float(norm(loss)) > 0.55
            colour = "#000000" if is_light else "#ffffff"
            axes.text(
                column, row, f"{loss:.3g}", ha="center", va="center", fontsize=8, color=colour, zorder=4
            )
    axes.imshow(
        np.ma.masked_invalid(values), origin="lower", aspect="auto", cmap=COLOURS, norm=norm, zorder=2
    )
    if chosen is not None:
        # A value keeps the middle of its field.
        draw_star(axes, chosen[0], chosen[1] + (0.3 if has_values else 0.0), size=11 if has_values else 14)
    axes.set_xticks(range(columns), list(ticks[0]), rotation=45 if columns > 5 else 0)
    axes.set_yticks(range(rows), list(ticks[1]))
    axes.grid(visible=False)


def draw_star(axes: Axes, x: float, y: float, size: float = 14) -> None:
    """Mark the setting that was chosen."""
    axes.plot(
        [x],
        [y],
        "*",
        color="#ffffff",
        markeredgecolor="#000000",
        markersize=size,
        markeredgewidth=1.0,
        zorder=5,
        clip_on=False,
    )


def make_norm(low: float, high: float, *, is_log: bool) -> Normalize:
    """Return the scale from losses to colours."""
    return (LogNorm if is_log else Normalize)(low, high)


def draw_bar(drawing: Drawing, panels: Sequence[Axes], norm: Normalize, label: str) -> None:
    """Draw the colour bar that all panels share."""
    bar = drawing.colorbar(ScalarMappable(norm=norm, cmap=COLOURS), ax=panels, shrink=0.9, pad=0.02)
    bar.set_label(label)
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_visible(False)
    if isinstance(norm, LogNorm) and norm.vmin is not None and norm.vmax is not None:
        set_log(bar.ax, norm.vmin, norm.vmax)
