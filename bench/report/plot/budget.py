"""What tuning buys: the loss to expect from the best of k settings, for every k that was run."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator

from bench.report.chapter import Figure
from bench.report.escape import slug
from bench.report.look import Look, finish, name_label, name_series, new_drawing, set_log, styled
from bench.report.plot.curves import MAX_LINES
from bench.report.sweep import Arena, Cell
from bench.report.tuning import find_initial_loss, first_pass, is_adaptive
from bench.stats import expected_best

_TICKS = (1, 2, 3, 4, 6, 9, 12, 16, 20, 30, 40, 60, 100, 200, 500, 1000)


def draw_budget(arena: Arena, looks: dict[str, Look]) -> Figure | None:
    """Draw an arena's expected best loss over the number of settings tried; None without a search."""
    lines = {cell.label: line for cell in arena.cells if (line := trace_budget(arena, cell))}
    cells = [cell for cell in arena.cells if cell.label in lines]
    if not cells:
        return None
    cells.sort(key=lambda cell: (lines[cell.label][-1][1], cell.label))
    panels = _split(cells, arena.reference)
    values = [loss for line in lines.values() for _, loss in line]
    with styled():
        drawing, all_axes = new_drawing(6.4, 3.4 * len(panels), len(panels))
        longest = max(line[-1][0] for line in lines.values())
        for axes, panel in zip(all_axes, panels, strict=True):
            for cell in panel:
                _draw_line(axes, cell, lines[cell.label], looks[cell.label])
            axes.set_xscale("log")
            axes.xaxis.set_minor_locator(NullLocator())
            axes.xaxis.set_major_locator(FixedLocator([each for each in _TICKS if each <= longest]))
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
            if min(values) > 0 and max(values) / min(values) > 5:
                set_log(axes, min(values), max(values))
                axes.set_ylim(min(values) / 1.1, max(values) * 1.1)
            else:
                room = 0.05 * (max(values) - min(values)) or 0.05 * abs(max(values)) or 1.0
                axes.set_ylim(min(values) - room, max(values) + room)
            axes.set_xlabel("settings tried")
            axes.set_ylabel("search loss of the best")
            axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=9)
        all_axes[0].set_title(f"{name_label(arena.name, 48)}: what tuning buys")
        observed = [cell.label for cell in cells if is_adaptive(cell)]
        note = (
            f" Dotted and labelled adaptive: the best so far as observed, in the one order that ran "
            f"({', '.join(observed)})."
            if observed
            else ""
        )
        return finish(
            drawing,
            name=f"budget_{slug(arena.name)}",
            caption=f"{arena.name}: expected search loss of the best of k settings drawn from the first "
            "pass (plug-in estimate, diverged settings counted as untrained), up to the number run, never "
            "beyond. The winner of many noisy settings looks better than it is: the tuning table says by "
            f"how much.{note}",
            alt=f"Expected best loss over settings tried on {arena.name}: "
            + "; ".join(
                f"{cell.label} {lines[cell.label][0][1]:.3g} with one, {lines[cell.label][-1][1]:.3g} "
                f"with {lines[cell.label][-1][0]}"
                for cell in cells
            ),
            data=pd.DataFrame(
                [
                    {
                        "arena": arena.name,
                        "optimizer": cell.label,
                        "num_settings": num,
                        "search_loss_best": loss,
                        "is_adaptive": is_adaptive(cell),
                    }
                    for cell in cells
                    for num, loss in lines[cell.label]
                ]
            ),
            series=[cell.label for cell in cells],
        )


def trace_budget(arena: Arena, cell: Cell) -> list[tuple[int, float]]:
    """Return number of settings and search loss of the best of them: expected, or observed if adaptive.

    A setting without a loss counts as the loss before training, which is what a user would be left with.
    """
    losses = first_pass(cell)
    known = [loss for loss in losses if loss is not None]
    if not known:
        return []
    worst = find_initial_loss(arena)
    worst = max(known) if worst is None else max(worst, min(known))
    filled = [worst if loss is None else min(loss, worst) for loss in losses]
    if not is_adaptive(cell):
        return [(num, expected_best(filled, num)) for num in range(1, len(filled) + 1)]
    line, best = [], math.inf
    for num, loss in enumerate(filled, start=1):
        best = min(best, loss)
        line.append((num, best))
    return line


def _split(cells: list[Cell], reference: Cell) -> list[list[Cell]]:
    """Return the cells of each panel, few enough to be told apart, the reference in every one."""
    if len(cells) <= MAX_LINES:
        return [cells]
    held = [cell for cell in cells if cell is reference]
    others = [cell for cell in cells if cell is not reference]
    num_panels = -(-len(others) // (MAX_LINES - len(held)))
    size = -(-len(others) // num_panels)
    return [[*held, *others[start : start + size]] for start in range(0, len(others), size)]


def _draw_line(axes: Axes, cell: Cell, line: list[tuple[int, float]], look: Look) -> None:
    x, y = zip(*line, strict=True)
    is_observed = is_adaptive(cell)
    axes.plot(
        x,
        y,
        color=look.colour,
        marker=look.marker,
        markevery=max(1, len(x) // 10),
        markersize=6 if look.is_dashed else 5,
        linewidth=1.8,
        linestyle=":" if is_observed else (0, (4, 2)) if look.is_dashed else "-",
        drawstyle="steps-post" if is_observed else "default",
        label=name_label(cell.label) + (" (adaptive)" if is_observed else ""),
        gid=name_series(cell.label),
    )
