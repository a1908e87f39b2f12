"""What each setting does, in the terminal: the answer where one optimizer ran in more arenas than fit."""

from __future__ import annotations

from collections.abc import Sequence

from bench.report.choice import find_best_place
from bench.report.contrast import Contrast, format_effect, list_contrasts
from bench.report.contrast_claim import Ruling, rule
from bench.report.escape import clean, measure, shorten
from bench.report.factor import Task, find_tasks
from bench.report.heading import MAX_COLUMNS, shorten_line
from bench.report.sweep import Sweep
from bench.report.tables import ABSENT

_NAME_WIDTH, _LEVEL_WIDTH = 22, 14


def write_effects(sweep: Sweep, space: int) -> list[str]:
    """Return a line per level of each setting and one for the best combination, as many as fit.

    Nothing unless every arena has one cell: where optimizers meet, they are what the lines are for.
    """
    if any(len(arena.cells) != 1 for arena in sweep.arenas if arena.obstacle is None):
        return []
    tasks = find_tasks(sweep)
    ranked = [row for task in tasks for row in _rank(task)]
    if not ranked:
        return []
    best = [line for task in tasks for line in _say_best(task)][: max(1, space // 4)]
    room = space - 1 - len(best)
    # The best level of each setting before the second best of any.
    num = room if len(ranked) <= room else room - 1
    chosen = sorted(range(len(ranked)), key=lambda index: (ranked[index][0], index))[: max(0, num)]
    rows = [ranked[index] for index in sorted(chosen)]
    rest = len(ranked) - len(rows)
    more = [f"... {rest} more level{'s' * (rest != 1)} in the report"] if rest else []
    is_one = len(tasks) == 1
    lines = [["" if is_one else "task", "setting", "level", "instead of", "val loss [95 % CI]", "verdict"]]
    lines[0] += ["step", "memory"]
    for _, task, each, ruling in rows:
        pace = ABSENT if each.time is None else "~1x" if each.time.is_noise else f"{each.time.ratio:.3g}x"
        lines.append(
            [
                "" if is_one else shorten(task.name, _NAME_WIDTH),
                shorten(each.factor.name, _NAME_WIDTH),
                shorten(each.level, _LEVEL_WIDTH),
                shorten(each.factor.baseline, _LEVEL_WIDTH),
                format_effect(task, each.effect) if each.effect is not None else ABSENT,
                ruling.verdict,
                pace,
                ABSENT if each.memory_ratio is None else f"{each.memory_ratio:.3g}x",
            ]
        )
    return [*_align(lines), *more, *best]


def _rank(task: Task) -> list[tuple[int, Task, Contrast, Ruling]]:
    """Return a task's contrasts, those that lower the loss most first, each with its place in its setting."""
    contrasts = list_contrasts(task)
    groups: dict[tuple[str, str], list[tuple[float, Contrast, Ruling]]] = {}
    for each, ruling in zip(contrasts, rule(task, contrasts), strict=True):
        mean = each.effect.mean if each.effect is not None and each.is_whole else float("inf")
        groups.setdefault((each.optimizer, each.factor.name), []).append((mean, each, ruling))
    ordered = [sorted(group, key=lambda row: row[0]) for group in groups.values()]
    return [
        (place, task, each, ruling)
        for group in sorted(ordered, key=lambda group: group[0][0])
        for place, (_, each, ruling) in enumerate(group)
    ]


def _say_best(task: Task) -> list[str]:
    lines = []
    for grid in task.grids:
        place = find_best_place(grid)
        if place is None or not grid.factors:
            continue
        losses = grid.cells[place].losses
        setting = " ".join(
            f"{factor.name}={level}" for factor, level in zip(grid.factors, place, strict=True)
        )
        what = f"best of {len(grid.cells)} ({clean(grid.optimizer)}, {clean(task.name)}): "
        result = f", val loss {sum(losses.values()) / len(losses):.4g}"
        lines.append(what + shorten(setting, max(8, MAX_COLUMNS - measure(what + result))) + result)
    return [shorten_line(line) for line in lines]


def _align(rows: Sequence[Sequence[str]]) -> list[str]:
    # A column in which nothing stands is left out.
    kept = [
        column for column in range(len(rows[0])) if any(row[column] not in ("", ABSENT) for row in rows[1:])
    ]
    widths = {column: max(measure(row[column]) for row in rows) for column in kept}
    return [
        shorten_line(
            "  ".join(row[column] + " " * (widths[column] - measure(row[column])) for column in kept).rstrip()
        )
        for row in rows
    ]
