"""What an lr range test saw: the loss while the lr rises, a band of seeds, and the range that came of it."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.axes import Axes

from bench.effort import RangeTest
from bench.report.chapter import Figure
from bench.report.escape import slug
from bench.report.look import INK, Look, finish, name_label, new_drawing, set_log_x, styled
from bench.report.sweep import Arena, Cell
from bench.report.tuning import find_chosen

_MAX_COLUMNS = 4
# Losses so many times the first are drawn at the top.
_TOP = 1.3


def draw_ranges(arena: Arena, looks: dict[str, Look]) -> Figure | None:
    """Draw an arena's lr range tests, a panel per optimizer; None where there was none."""
    tests = [(cell, cell.search.range_test) for cell in arena.cells if cell.search is not None]
    tested = [(cell, test) for cell, test in tests if test is not None and any(map(any, test.losses))]
    if not tested:
        return None
    columns = min(_MAX_COLUMNS, len(tested))
    with styled():
        rows = -(-len(tested) // columns)
        width = max(6.4, 2.4 * columns + 0.6) if columns > 1 else 5.0
        drawing, panels = new_drawing(width, 0.6 + 2.6 * rows, len(tested), columns)
        for index, (axes, (cell, test)) in enumerate(zip(panels, tested, strict=True)):
            _draw_test(axes, cell, test, looks[cell.label])
            axes.set_xlabel("learning rate")
            axes.set_ylabel("training loss" if index % columns == 0 else "")
            axes.set_title(name_label(cell.label, 18), fontsize=9)
        return finish(
            drawing,
            name=f"ranges_{slug(arena.name)}",
            caption=f"{arena.name}: training loss of {tested[0][1].num_steps} steps while the lr rises; mean "
            "line and min-max band of the search seeds. Shaded: the range that the search was given. Dotted: "
            "the lr suggested; triangle: the lr that the search chose.",
            alt=f"Line charts of training loss over a rising learning rate on {arena.name}: "
            + "; ".join(_describe(cell, test) for cell, test in tested),
            data=_collect(arena, tested),
            is_wide=columns > 2,
        )


def find_distance(cell: Cell) -> float | None:
    """Return by how many decades the lr that a range test suggested lies above the one chosen."""
    test = None if cell.search is None else cell.search.range_test
    chosen = find_chosen(cell)
    if test is None or test.suggested is None or chosen is None or chosen.lr is None:
        return None
    return math.log10(test.suggested / chosen.lr)


def _draw_test(axes: Axes, cell: Cell, test: RangeTest, look: Look) -> None:
    top = _TOP * max(abs(row[0]) for row in test.losses if row and row[0] is not None)
    points = [
        (lr, [min(loss, top) for loss in losses if loss is not None])
        for lr, losses in zip(test.lrs, zip(*test.losses, strict=True), strict=True)
        if any(loss is not None for loss in losses)
    ]
    lrs = [lr for lr, _ in points]
    axes.fill_between(
        lrs, [min(losses) for _, losses in points], [max(losses) for _, losses in points],
        color=look.colour, alpha=0.2, linewidth=0,
    )  # fmt: skip
    axes.plot(lrs, [sum(losses) / len(losses) for _, losses in points], color=look.colour, linewidth=1.6)
    set_log_x(axes)
    axes.set_xlim(test.lrs[0], test.lrs[-1])
    if test.suggested is not None and test.low is not None and test.high is not None:
        axes.axvspan(test.low, test.high, color=look.colour, alpha=0.08, linewidth=0)
        axes.axvline(test.suggested, color=INK, linewidth=1.0, linestyle=":")
    chosen = find_chosen(cell)
    if chosen is not None and chosen.lr is not None:
        transform = axes.get_xaxis_transform()
        axes.plot([chosen.lr], [0.05], "^", color=look.colour, markersize=8, transform=transform)
    axes.tick_params(labelsize=8)


def _describe(cell: Cell, test: RangeTest) -> str:
    if test.suggested is None:
        return f"{cell.label} never fell"
    distance = find_distance(cell)
    off = "" if distance is None else f", {distance:+.1f} decades from the lr chosen"
    return f"{cell.label} suggests {test.suggested:.2g}{off}"


def _collect(arena: Arena, tested: list[tuple[Cell, RangeTest]]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "arena": arena.name,
            "optimizer": cell.label,
            "search_seed": seed,
            "lr": lr,
            "train_loss": loss,
            "lr_suggested": test.suggested,
            "lr_low": test.low,
            "lr_high": test.high,
        }
        for cell, test in tested
        for seed, losses in enumerate(test.losses)
        for lr, loss in zip(test.lrs, losses, strict=True)
    )
