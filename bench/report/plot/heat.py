"""Two settings that pull on one another, such as lr and weight decay: the search loss over both at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize

from bench.report.chapter import Figure
from bench.report.escape import slug
from bench.report.look import INK, finish, format_tick, name_label, new_drawing, set_log_x, styled
from bench.report.plot.grid import COLOURS, draw_bar, draw_grid, draw_star, make_norm
from bench.report.plot.robustness import WARNING, find_loss_limits
from bench.report.sweep import Arena, Cell
from bench.report.tuning import DROPOUT, LR, WEIGHT_DECAY, Setting, list_settings

# What is drawn over what, in order of preference: x, then y.
_PAIRS = ((LR, WEIGHT_DECAY), (DROPOUT, WEIGHT_DECAY), (LR, DROPOUT))
_NAMES = {LR: "learning rate", WEIGHT_DECAY: "weight decay", DROPOUT: "dropout"}
_MAX_COLUMNS = 4
# As close to a bound as this share of the range counts as at it.
_BORDER = 0.1


def draw_heat(arena: Arena) -> Figure | None:
    """Draw search loss over a pair of settings, a panel per optimizer; None where no pair was searched."""
    pair = next((pair for pair in _PAIRS if _list_cells(arena, pair)), None)
    if pair is None:
        return None
    cells = _list_cells(arena, pair)
    low, high, is_log = find_loss_limits(arena, cells)
    norm = make_norm(low, high, is_log=is_log)
    columns = min(_MAX_COLUMNS, len(cells))
    rows = -(-len(cells) // columns)
    with styled():
        drawing, panels = new_drawing(max(5.2, 2.7 * columns + 0.9), 0.5 + 2.7 * rows, len(cells), columns)
        everywhere = [point[:2] for cell in cells for point in _locate(cell, pair)]
        for index, (axes, cell) in enumerate(zip(panels, cells, strict=True)):
            points = _locate(cell, pair)
            if is_grid([point[:2] for point in points]):
                _draw_grid(axes, points, norm)
            else:
                _draw_scatter(axes, cell, pair, points, norm)
                # Unseen, so that all panels span what any search tried.
                axes.plot(*zip(*everywhere, strict=True), linestyle="none")
            is_border = touches_border(cell, pair)
            axes.set_title(name_label(cell.label, 20), fontsize=10)
            if is_border:
                axes.set_title("⚠ border", loc="right", fontsize=9, color=WARNING)
            axes.set_xlabel(_NAMES[pair[0]] if index + columns >= len(cells) else "")
            axes.set_ylabel(_NAMES[pair[1]] if index % columns == 0 else "")
            axes.tick_params(labelsize=8)
        draw_bar(drawing, panels, norm, "search loss")
        what = f"{_NAMES[pair[0]]} and {_NAMES[pair[1]]}"
        return finish(
            drawing,
            name=f"heat_{slug(arena.name)}",
            caption=f"{arena.name}: search loss over {what}, one colour scale for all. Star: the setting "
            "chosen; div: diverged or failed. Points stand where settings were drawn at random or proposed "
            "one by one. ⚠: the star lies at the border of what was tried.",
            alt=f"Maps of search loss over {what} on {arena.name}: "
            + "; ".join(_describe(cell, pair) for cell in cells),
            data=_collect(arena, cells, pair),
            is_wide=columns > 2,
        )


def is_grid(points: Sequence[tuple[float, float]]) -> bool:
    """Return whether points fill a grid of at least two by two, but for a third of its cells at most."""
    num_x, num_y = len({x for x, _ in points}), len({y for _, y in points})
    return num_x >= 2 and num_y >= 2 and num_x * num_y <= 1.5 * len(set(points))


def touches_border(cell: Cell, pair: tuple[str, str]) -> bool:
    """Return whether a cell's chosen setting lies at the border of what was tried in either direction."""
    points = _locate(cell, pair)
    chosen = next((point for point in points if point[2].is_chosen), None)
    if chosen is None:
        return False
    on_grid = is_grid([point[:2] for point in points])
    for x_or_y, key in enumerate(pair):
        values = sorted({(point[0], point[1])[x_or_y] for point in points})
        value = (chosen[0], chosen[1])[x_or_y]
        # Nothing lies beyond a weight decay or a dropout of 0: no border.
        if len(values) < 2 or value == 0:
            continue
        log = cell.search is not None and cell.search.space[key].log and values[0] > 0
        low, at, high = (math.log(each) if log else each for each in (values[0], value, values[-1]))
        reach = 0.0 if on_grid else _BORDER * (high - low)
        if min(at - low, high - at) <= reach:
            return True
    return False


def _list_cells(arena: Arena, pair: tuple[str, str]) -> list[Cell]:
    return [
        cell
        for cell in arena.cells
        if cell.search is not None and set(pair) <= set(cell.search.space) and _locate(cell, pair)
    ]


def _locate(cell: Cell, pair: tuple[str, str]) -> list[tuple[float, float, Setting]]:
    located = []
    for setting in list_settings(cell):
        x, y = setting.number_of(pair[0]), setting.number_of(pair[1])
        if x is not None and y is not None:
            located.append((x, y, setting))
    return located


def _draw_grid(axes: Axes, points: Any, norm: Normalize) -> None:
    xs, ys = sorted({x for x, *_ in points}), sorted({y for _, y, _ in points})
    located = [((xs.index(x), ys.index(y)), setting) for x, y, setting in points]
    losses = {field: "div" if setting.loss is None else setting.loss for field, setting in located}
    chosen = next((field for field, setting in located if setting.is_chosen), None)
    draw_grid(axes, losses, ([format_tick(x) for x in xs], [format_tick(y) for y in ys]), norm, chosen)


def _draw_scatter(axes: Axes, cell: Cell, pair: tuple[str, str], points: Any, norm: Normalize) -> None:
    assert cell.search is not None
    known = [(x, y, setting.loss) for x, y, setting in points if setting.loss is not None]
    for x, y, setting in points:
        if setting.loss is None:
            axes.text(x, y, "div", ha="center", va="center", fontsize=7, color=INK)
        if setting.is_chosen:
            draw_star(axes, x, y)
    if known:
        x, y, losses = zip(*known, strict=True)
        axes.scatter(x, y, c=losses, cmap=COLOURS, norm=norm, s=52, edgecolors=INK, linewidths=0.4, zorder=3)
    axes.grid(visible=True, axis="both")
    axes.margins(0.12)
    if cell.search.space[pair[0]].log and min(x for x, _, _ in points) > 0:
        set_log_x(axes)
    if cell.search.space[pair[1]].log and min(y for _, y, _ in points) > 0:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda value, _: format_tick(value))
        axes.yaxis.set_minor_formatter(mpl.ticker.NullFormatter())


def _describe(cell: Cell, pair: tuple[str, str]) -> str:
    chosen = next((point for point in _locate(cell, pair) if point[2].is_chosen), None)
    if chosen is None:
        return f"{cell.label} none chosen"
    border = ", at the border" * touches_border(cell, pair)
    return f"{cell.label} best at {chosen[0]:.3g} and {chosen[1]:.3g}{border}"


def _collect(arena: Arena, cells: list[Cell], pair: tuple[str, str]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "arena": arena.name,
                "optimizer": cell.label,
                "setting": setting.number,
                pair[0]: x,
                pair[1]: y,
                "search_loss": setting.loss,
                "num_search_seeds": len(setting.losses),
                "is_chosen": setting.is_chosen,
            }
            for cell in cells
            for x, y, setting in _locate(cell, pair)
        ]
    )
