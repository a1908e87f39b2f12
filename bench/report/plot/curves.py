"""Validation loss along a run, over steps and over time: a figure per arena, one for those with one cell."""

from __future__ import annotations

from collections.abc import Sequence

from bench.report.alone import group_by_task, mean_loss, name_task, shorten_names, spread
from bench.report.chapter import Figure
from bench.report.escape import slug
from bench.report.look import COLOURS, MARKERS, Look, finish, name_label, new_drawing, styled
from bench.report.plot.line import Axis, Line, collect_curves, draw_lines, find_limits, label_lines, trace
from bench.report.sweep import Arena, Cell

# More lines on one axes can't be told apart.
MAX_LINES = 6
# Of an arena with more lines than fit so many axes, the best of one are drawn.
_MAX_AXES = 2
# Tasks that a figure of many arenas shows: with names beside the lines, and without.
_MAX_TASKS, _MAX_PANELS = 4, 12
AXIS_LABELS = {"step": "step", "elapsed_s": "training time (s)"}


def draw_curves(arena: Arena, looks: dict[str, Look], axis: Axis) -> Figure | None:
    """Draw an arena's validation curves.

    Args:
        arena: Cells to draw; more than six are spread over several axes, each with the reference.
        looks: Label -> look.
        axis: What runs along x: the step, or the training time in seconds.

    Returns:
        The figure, or None when no run has a curve.
    """
    traced = [
        trace(cell, axis, cell.label, looks[cell.label], is_reference=cell is arena.reference)
        for cell in arena.cells
    ]
    lines = [line for line in traced if line is not None]
    if not lines:
        return None
    num_all = len(lines)
    lines = _keep_best(lines, arena.reference)
    panels = _split(lines, arena.reference)
    limits = find_limits(lines)
    with styled():
        drawing, all_axes = new_drawing(6.4, 3.9 * len(panels), len(panels))
        for axes, panel in zip(all_axes, panels, strict=True):
            draw_lines(axes, panel, limits, AXIS_LABELS[axis])
            label_lines(axes, panel)
        all_axes[0].set_title(f"{name_label(arena.name, 48)}: loss over {AXIS_LABELS[axis]}")
        what = "steps" if axis == "step" else "time"
        part = (
            f" Shown are {len(lines)} of {num_all}, the reference and those with the lowest mean final loss; "
            "the CSV holds all."
        ) * (len(lines) < num_all)
        caveat = (
            ""
            if axis == "step"
            else " Time is that of the runs, which may have shared the machine: it makes no verdict."
        )
        return finish(
            drawing,
            name=f"{'curves' if axis == 'step' else 'time'}_{slug(arena.name)}",
            caption=f"{arena.name}: validation loss over {what}; {_describe_band(lines)}. The dashed black "
            f"line is the reference {arena.reference.label}.{part}{_describe_cut(lines)}{caveat}",
            alt=f"Line chart of validation loss over {what} on {arena.name}. At the end: "
            + _list_ends(lines),
            data=collect_curves([arena]),
            series=[line.label for line in lines],
        )


def draw_curves_alone(arenas: Sequence[Arena]) -> Figure | None:
    """Draw the curves of arenas with one cell each: a panel per task, and in it some from best to worst.

    Args:
        arenas: Those with one cell; the data of the figure hold all of them.

    Returns:
        The figure, or None when no run has a curve.
    """
    short = shorten_names(arenas)
    traced = [_trace_task(task, short) for task in group_by_task(arenas)]
    tasks = [(task, lines) for task, lines in traced if lines]
    if not tasks:
        return None
    # A single line needs no name beside it: its panel has one above.
    is_named = any(len(lines) > 1 for _, lines in tasks)
    shown = tasks[: _MAX_TASKS if is_named else _MAX_PANELS]
    columns = 1 if is_named else min(3, len(shown))
    rows = -(-len(shown) // columns)
    with styled():
        size = (8.4, 3.9 * rows) if is_named else (3.4 * columns, 2.6 * rows)
        drawing, all_axes = new_drawing(*size, len(shown), columns)
        for axes, (task, lines) in zip(all_axes, shown, strict=True):
            draw_lines(axes, lines, find_limits(lines), AXIS_LABELS["step"])
            if is_named:
                label_lines(axes, lines, 40)
            title = name_task(task) if len(lines) > 1 else lines[0].label
            axes.set_title(name_label(title, 48 if is_named else 34))
        drawn = [line for _, lines in shown for line in lines]
        part = (
            f" Shown are {len(drawn)} of {len(arenas)} arenas, of each workload evenly spaced from the "
            "lowest to the highest final loss; the CSV holds all."
        ) * (len(drawn) < len(arenas))
        return finish(
            drawing,
            name="curves_alone",
            caption=f"Validation loss over steps; {_describe_band(drawn)}.{part}{_describe_cut(drawn)}",
            alt="Line chart of validation loss over steps. At the end: " + _list_ends(drawn),
            data=collect_curves(arenas),
            is_wide=is_named or columns > 1,
            series=[line.label for line in drawn] if is_named else (),
        )


def _trace_task(task: Sequence[Arena], short: dict[str, str]) -> tuple[Sequence[Arena], list[Line]]:
    """Return the lines of a task's arenas that are shown, best first."""
    looks = [Look(colour=colour, marker=marker) for colour, marker in zip(COLOURS, MARKERS, strict=False)]
    ranked = sorted(task, key=lambda arena: (mean_loss(arena.cells[0]), arena.name))
    traceable = [arena for arena in ranked if trace(arena.cells[0], "step", "", looks[0]) is not None]
    traced = [
        trace(arena.cells[0], "step", short[arena.name], look)
        for arena, look in zip(spread(traceable, MAX_LINES), looks, strict=False)
    ]
    return task, [line for line in traced if line is not None]


def _keep_best(lines: list[Line], reference: Cell) -> list[Line]:
    """Return all lines, or of too many the reference and those that end lowest, in their order."""
    ranked = sorted((mean_loss(line.cell), line.label) for line in lines if line.cell is not reference)
    if len(ranked) <= _MAX_AXES * (MAX_LINES - 1):
        return lines
    kept = {label for _, label in ranked[: MAX_LINES - 1]}
    return [line for line in lines if line.cell is reference or line.label in kept]


def _split(lines: list[Line], reference: Cell) -> list[list[Line]]:
    if len(lines) <= MAX_LINES:
        return [lines]
    held = [line for line in lines if line.cell is reference]
    others = [line for line in lines if line.cell is not reference]
    size = MAX_LINES - len(held)
    return [[*held, *others[start : start + size]] for start in range(0, len(others), size)]


def _describe_band(lines: Sequence[Line]) -> str:
    num_seeds = max(len(line.cell.ends) for line in lines)
    return f"median line and min-max band of {num_seeds} seed{'s' * (num_seeds != 1)}"


def _describe_cut(lines: Sequence[Line]) -> str:
    is_cut = any(line.trouble for line in lines)
    return " A line ends in a cross where its first seed diverged or failed." * is_cut


def _list_ends(lines: Sequence[Line]) -> str:
    return "; ".join(f"{line.label} {line.median[-1]:.3g}" for line in lines)
