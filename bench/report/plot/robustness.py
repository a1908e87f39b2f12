"""How much a wrong learning rate costs: one small panel per optimizer, the others in grey behind it."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from bench.report.chapter import Figure
from bench.report.escape import slug
from bench.report.look import FAINT, INK, Look, finish, name_label, new_drawing, set_log, set_log_x, styled
from bench.report.sweep import Arena, Cell
from bench.report.tuning import LR, find_chosen, find_initial_loss, has_lr_curve, list_curve, list_settings

_MAX_COLUMNS = 5
WARNING = "#b42318"
CONTEXT = "#d3d8de"


def draw_robustness(arena: Arena, looks: dict[str, Look]) -> Figure | None:
    """Draw search loss over learning rate, a panel per optimizer; None without a search of lr."""
    cells = [cell for cell in arena.cells if any(setting.lr for setting in list_settings(cell))]
    if not cells:
        return None
    low, high, is_log = find_loss_limits(arena, cells)
    columns = min(_MAX_COLUMNS, len(cells))
    with styled():
        rows = -(-len(cells) // columns)
        width = max(6.4, 2.15 * columns + 0.6) if columns > 1 else 5.0
        drawing, panels = new_drawing(width, 0.6 + (2.3 if columns > 2 else 2.9) * rows, len(cells), columns)
        for index, (axes, cell) in enumerate(zip(panels, cells, strict=True)):
            for other in cells:
                if other is not cell:
                    _draw_line(axes, other, high, CONTEXT, is_context=True)
            _draw_cell(axes, cell, looks[cell.label], high)
            _scale(axes, cells, low, high, is_log=is_log)
            _set_title(axes, cell)
            is_left, is_bottom = index % columns == 0, index + columns >= len(cells)
            axes.set_ylabel("search loss" if is_left else "")
            axes.set_xlabel("learning rate" if is_bottom else "")
            axes.tick_params(labelleft=is_left, labelbottom=is_bottom, labelsize=8)
        return finish(
            drawing,
            name=f"robustness_{slug(arena.name)}",
            caption=f"{arena.name}: search loss over learning rate. Dots: single search seeds; line: their "
            f"mean{_explain_line(cells)}; triangle: the setting chosen; cross at the top: a seed diverged "
            "or failed. Grey: the other optimizers. Losses above the one before training are drawn at the "
            "top. ⚠: the best lr lies on the edge of what was tried.",
            alt=f"Small multiples of search loss over learning rate on {arena.name}: "
            + "; ".join(_describe(cell) for cell in cells),
            data=_collect(arena),
            is_wide=columns > 3,
        )


def find_loss_limits(arena: Arena, cells: list[Cell]) -> tuple[float, float, bool]:
    """Return the lowest and highest search loss to show, and whether they want a logarithmic scale.

    The loss before training is the highest that says something: beyond it nothing was learned.
    """
    losses = [
        loss for cell in cells for each in list_settings(cell) for loss in each.losses if loss is not None
    ]
    if not losses:
        return 0.0, 1.0, False
    ceiling = find_initial_loss(arena)
    low, high = min(losses), max(losses)
    if ceiling is not None and low < ceiling < high:
        high = ceiling
    if high == low:
        high = low + (abs(low) or 1.0)
    return low, high, low > 0 and high / low > 5


def _scale(axes: Axes, cells: list[Cell], low: float, high: float, *, is_log: bool) -> None:
    lrs = [lr for cell in cells for lr, _ in list_curve(cell)]
    room = (max(lrs) / min(lrs)) ** 0.06 if max(lrs) > min(lrs) else 2.0
    set_log_x(axes)
    axes.set_xlim(min(lrs) / room, max(lrs) * room)
    if is_log:
        set_log(axes, low, high)
        span = high / low
        axes.set_ylim(low / span**0.06, high * span**0.14)
    else:
        axes.set_ylim(low - 0.06 * (high - low), high + 0.14 * (high - low))


def _draw_line(axes: Axes, cell: Cell, high: float, colour: str, *, is_context: bool) -> None:
    if not has_lr_curve(cell):
        points = [
            (each.lr, min(each.loss, high))
            for each in list_settings(cell)
            if each.lr and each.loss is not None
        ]
        if is_context and points:
            x, y = zip(*points, strict=True)
            axes.plot(x, y, ".", color=colour, markersize=4, zorder=1)
        return
    pieces: list[list[tuple[float, float]]] = [[]]
    for lr, loss in list_curve(cell):
        # A line across a diverged setting would promise a loss there.
        if loss is None:
            pieces.append([])
        else:
            pieces[-1].append((lr, min(loss, high)))
    for piece in filter(None, pieces):
        x, y = zip(*piece, strict=True)
        axes.plot(x, y, color=colour, linewidth=1.0 if is_context else 1.8, zorder=1 if is_context else 3)


def _draw_cell(axes: Axes, cell: Cell, look: Look, high: float) -> None:
    _draw_line(axes, cell, high, look.colour, is_context=False)
    top = axes.get_xaxis_transform()
    for setting in list_settings(cell):
        if setting.lr is None:
            continue
        known = [min(loss, high) for loss in setting.losses if loss is not None]
        axes.plot([setting.lr] * len(known), known, "o", color=look.colour, markersize=3, alpha=0.6, zorder=2)
        if None in setting.losses or not setting.losses:
            axes.plot([setting.lr], [0.95], "x", transform=top, color=look.colour, markersize=6, zorder=4)
    chosen = find_chosen(cell)
    if chosen is not None and chosen.lr is not None and chosen.loss is not None:
        axes.plot(
            [chosen.lr],
            [min(chosen.loss, high)],
            "^",
            color=look.colour,
            markersize=9,
            markeredgecolor="white",
            markeredgewidth=0.9,
            zorder=5,
        )


def _set_title(axes: Axes, cell: Cell) -> None:
    is_edge = cell.search is not None and cell.search.edge is not None
    axes.set_title(name_label(cell.label, 18), fontsize=9)
    if is_edge:
        axes.set_title("⚠ edge", loc="right", fontsize=9, color=WARNING)
    if cell.search is not None and cell.search.best is None:
        axes.text(
            0.5,
            0.6,
            "all diverged\nor failed",
            transform=axes.transAxes,
            ha="center",
            fontsize=9,
            color=INK,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 3},
        )
    for spine in axes.spines.values():
        spine.set_color(WARNING if is_edge else FAINT)


def _explain_line(cells: list[Cell]) -> str:
    if all(cell.search is not None and set(cell.search.space) <= {LR} for cell in cells):
        return ""
    if any(has_lr_curve(cell) for cell in cells):
        return ", of the best of the settings that share a learning rate"
    return " (not drawn: other things varied from point to point)"


def _describe(cell: Cell) -> str:
    chosen = find_chosen(cell)
    if chosen is None or chosen.lr is None or chosen.loss is None:
        return f"{cell.label} none chosen"
    edge = ", on the edge" * (cell.search is not None and cell.search.edge is not None)
    return f"{cell.label} lowest at {chosen.lr:.3g}{edge} with {chosen.loss:.3g}"


def _collect(arena: Arena) -> pd.DataFrame:
    rows = [
        {
            "arena": arena.name,
            "optimizer": cell.label,
            "setting": setting.number,
            **setting.params,
            "search_seed": seed,
            "search_loss": loss,
            "round": setting.round,
            "is_confirmed": setting.is_confirmed,
            "is_chosen": setting.is_chosen,
        }
        for cell in arena.cells
        for setting in list_settings(cell)
        for seed, loss in enumerate(setting.losses)
    ]
    return pd.DataFrame(rows)
