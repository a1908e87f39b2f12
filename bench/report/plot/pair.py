"""Two settings varied at once, such as dropout and weight decay: the final loss of every combination."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import pandas as pd

from bench.report.chapter import Figure
from bench.report.choice import find_best_place
from bench.report.comparison import describe_status
from bench.report.escape import slug
from bench.report.factor import Factor, Grid, Task
from bench.report.look import finish, name_label, new_drawing, styled
from bench.report.plot.grid import Field, draw_bar, draw_grid, make_norm
from bench.report.sweep import Cell
from bench.report.tuning import find_initial_loss
from bench.report.variant import COST_KEYS
from bench.stats import summarise

_MAX_COLUMNS = 3
# Larger maps have no room for numbers.
_MAX_VALUES = 64


# What is asked for most often, before any other two.
_FIRST = ("optimizer.weight_decay", "model.dropout")


@dataclass(frozen=True, kw_only=True)
class Map:
    """The cells of one optimizer over two settings."""

    grid: Grid
    # Name -> level of every other setting that was varied: that of the best combination.
    held: Mapping[str, str]
    best: tuple[str, ...] | None


def draw_pair(task: Task) -> Figure | None:
    """Draw final validation loss over two settings, a panel per optimizer that varies two or more.

    Of more than two settings the others stand where the best combination has them.
    """
    maps = [each for grid in task.grids if (each := _cut(grid)) is not None]
    grids = [each.grid for each in maps]
    if not grids:
        return None
    low, high, is_log = _find_limits(task, grids)
    norm = make_norm(low, high, is_log=is_log)
    columns = min(_MAX_COLUMNS, len(grids))
    rows = -(-len(grids) // columns)
    width = max(0.62 * len(grid.factors[0].levels) for grid in grids) + 0.9
    height = max(0.42 * len(grid.factors[1].levels) for grid in grids) + 0.9
    with styled():
        drawing, panels = new_drawing(
            max(4.6, max(2.4, width) * columns + 1.0), max(2.4, height) * rows + 0.3, len(grids), columns
        )
        for axes, each in zip(panels, maps, strict=True):
            grid, best = each.grid, each.best
            across, up = grid.factors
            fields = {_locate(grid, place): _word(cell) for place, cell in grid.cells.items()}
            draw_grid(
                axes,
                fields,
                (across.levels, up.levels),
                norm,
                _locate(grid, best) if best else None,
                has_values=len(fields) <= _MAX_VALUES,
            )
            axes.set_title(name_label(grid.optimizer, 22), fontsize=10)
            axes.set_xlabel(name_label(across.name))
            axes.set_ylabel(name_label(up.name))
            axes.tick_params(labelsize=8)
        draw_bar(drawing, panels, norm, "final validation loss")
        return finish(
            drawing,
            name=f"pair_{slug(task.name)}",
            caption=f"{task.name}: final validation loss on the report items, mean over the evaluation "
            "seeds, one colour scale for all. Star: what the search items choose, other items than those "
            "of the numbers, so that it need not be the lowest; div: a seed diverged, so there is no mean."
            + _say_held(maps)
            + " The same weight decay is not the same setting in its two kinds." * _has_both_kinds(grids),
            alt=f"Maps of final validation loss on {task.name}: " + "; ".join(map(_describe, maps)),
            data=_collect(task, maps),
            is_wide=columns > 1,
        )


def _cut(grid: Grid) -> Map | None:
    """Return what of a grid one map shows; None where no two settings span one."""

    def rank(factor: Factor) -> tuple[bool, bool, bool]:
        # The learning rate is what the others are looked at under.
        return factor.key not in _FIRST, factor.key == "optimizer.lr", not factor.is_numeric

    # A map in which one side moves nothing says less than a row of a table.
    candidates = sorted((each for each in grid.factors if each.key not in COST_KEYS), key=rank)[:2]
    best = find_best_place(grid)
    if len(candidates) < 2 or (best is None and len(grid.factors) > 2):
        return None
    kept = [index for index, each in enumerate(grid.factors) if each in candidates]
    held = {index: best[index] for index in range(len(grid.factors)) if index not in kept and best}

    def place_of(place: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(place[index] for index in kept)

    cells = {
        place_of(place): cell
        for place, cell in grid.cells.items()
        if all(place[index] == level for index, level in held.items())
    }
    if not any(map(_average, cells.values())) or any(
        len({place[side] for place in cells}) < 2 for side in (0, 1)
    ):
        return None
    return Map(
        grid=replace(grid, factors=tuple(grid.factors[index] for index in kept), cells=cells, arenas={}),
        held={grid.factors[index].name: level for index, level in held.items()},
        best=place_of(best) if best else None,
    )


def _say_held(maps: list[Map]) -> str:
    """Return where the settings stand that a map does not show."""
    held = [
        f"{each.grid.optimizer} " + ", ".join(f"{name} {level}" for name, level in each.held.items())
        for each in maps
        if each.held
    ]
    if not held:
        return ""
    return (
        f" The other settings that were varied stand where the best combination has them: {'; '.join(held)}."
    )


def _average(cell: Cell) -> float | None:
    return summarise(list(cell.losses.values()))[0] if cell.is_complete else None


def _word(cell: Cell) -> float | str:
    mean = _average(cell)
    if mean is not None:
        return mean
    return "div" if cell.count("diverged") else "none"


def _locate(grid: Grid, place: tuple[str, ...]) -> Field:
    across, up = grid.factors
    return across.levels.index(place[0]), up.levels.index(place[1])


def _find_limits(task: Task, grids: list[Grid]) -> tuple[float, float, bool]:
    """Return the lowest and highest loss to show, and whether they want a logarithmic scale."""
    losses = [mean for grid in grids for cell in grid.cells.values() if (mean := _average(cell)) is not None]
    ceiling = find_initial_loss(task.arena)
    low, high = min(losses), max(losses)
    if ceiling is not None and low < ceiling < high:
        # What ends above the loss before training learned nothing, however far above.
        high = ceiling
    if high == low:
        high = low + (abs(low) or 1.0)
    return low, high, low > 0 and high / low > 5


def _has_both_kinds(grids: list[Grid]) -> bool:
    names = {
        factor.name for grid in grids for factor in grid.factors if factor.name.startswith("weight_decay")
    }
    return len(names) > 1


def _describe(each: Map) -> str:
    if each.best is None:
        return f"{each.grid.optimizer} none finished"
    pairs = [(factor.name, level) for factor, level in zip(each.grid.factors, each.best, strict=True)]
    return f"{each.grid.optimizer} best at " + ", ".join(
        f"{name} {level}" for name, level in [*pairs, *each.held.items()]
    )


def _collect(task: Task, maps: list[Map]) -> pd.DataFrame:
    rows = []
    for each in maps:
        for place, cell in each.grid.cells.items():
            rows.append(
                {
                    "task": task.name,
                    "optimizer": each.grid.optimizer,
                    **{factor.key: level for factor, level in zip(each.grid.factors, place, strict=True)},
                    "held": " ".join(f"{name}={level}" for name, level in each.held.items()),
                    "val_loss_mean": _average(cell),
                    "val_loss_sd": summarise(list(cell.losses.values()))[1] if cell.is_complete else None,
                    "num_ok": len(cell.losses),
                    "num_runs": len(cell.ends),
                    "status": describe_status(cell),
                    "is_chosen": place == each.best,
                }
            )
    return pd.DataFrame(rows)
