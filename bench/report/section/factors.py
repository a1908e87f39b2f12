"""What each setting buys: dropout, weight decay, depth... level by level, all else equal."""

from __future__ import annotations

from collections.abc import Sequence

from bench.report.best import find_contests
from bench.report.chapter import Block, Heading, Note, Notes, Text
from bench.report.contrast import list_contrasts
from bench.report.factor import Task, find_tasks
from bench.report.factor_tables import tabulate_best, tabulate_contrasts
from bench.report.finding import say_contest, say_contrasts
from bench.report.look import Look, assign_looks
from bench.report.plot.factor import draw_effects
from bench.report.plot.pair import draw_pair
from bench.report.plot.price import draw_prices
from bench.report.sweep import Sweep
from bench.report.variant import COST_KEYS

TITLE = "What each setting buys"
# More sentences than this are what the tables are for.
_MAX_SENTENCES = 12


def show(sweep: Sweep) -> Sequence[Block] | str:
    """Return what the factors of each task do, and how the optimizers compare at their best settings."""
    if not sweep.arenas:
        return "This sweep holds no readable study."
    tasks = find_tasks(sweep)
    if not tasks:
        return "No setting was varied: in each workload the cells differ in their optimizer only."
    looks = _assign_looks(sweep)
    blocks: list[Block] = []
    for task in tasks:
        contrasts = list_contrasts(task)
        blocks += [
            Heading(text=task.name),
            Text(text=_introduce(task)),
            _list(say_contrasts(task, contrasts)),
        ]
        figure = draw_effects(task, contrasts, looks)
        if figure is not None:
            blocks.append(figure)
        prices = draw_prices(task, contrasts, looks)
        if prices is not None:
            blocks.append(prices)
        blocks.append(tabulate_contrasts(task, contrasts))
        pair = draw_pair(task)
        if pair is not None:
            blocks.append(pair)
        contests = find_contests(task)
        if contests:
            sentences = [sentence for contest in contests for sentence in say_contest(task, contest)]
            if sentences:
                blocks.append(_list(sentences))
            blocks.append(tabulate_best(task, contests))
    return blocks


def _assign_looks(sweep: Sweep) -> dict[str, Look]:
    """Return the look of every optimizer: that of one of its cells, the reference's if it is one."""
    looks = assign_looks(sweep)
    references = {arena.reference.label for arena in sweep.arenas}
    cells = {cell.label: cell for arena in sweep.arenas for cell in arena.cells}
    found: dict[str, Look] = {}
    for label in sorted(cells, key=lambda label: (label not in references, label)):
        found.setdefault(cells[label].study.optimizer.name, looks[label])
    return found


def _list(sentences: Sequence[str]) -> Notes:
    items = [Note(text=sentence) for sentence in sentences[:_MAX_SENTENCES]]
    rest = len(sentences) - len(items)
    if rest:
        items.append(Note(text=f"{rest} more are in the table below."))
    return Notes(items=tuple(items))


def _introduce(task: Task) -> str:
    """Return what was varied, what was not, and what no number here can say."""
    factors = {factor.key: factor for grid in task.grids for factor in grid.factors}
    grids = [
        f"{len(grid.cells)} cell{'s' * (len(grid.cells) != 1)} of {grid.optimizer}" for grid in task.grids
    ]
    cells = [cell for grid in task.grids for cell in grid.cells.values()]
    seeds = sorted({len(cell.ends) for cell in cells if cell.ends}) or [0]
    parts = [
        "Varied: "
        + "; ".join(f"{name} ({', '.join(levels)})" for name, levels in task.factors)
        + f". {' and '.join(grids)}, {' or '.join(map(str, seeds))} seeds each. Every level is compared with "
        "the first one named, its baseline (fp32, fused or nothing, else the smallest number, else the first "
        "word listed), "
        "for one optimizer at a time and with all else equal. An effect is a mean over the combinations of "
        "the other settings: where they pull on one another, the single combinations of the table say so.",
    ]
    is_about_loss = any(key not in (*COST_KEYS, "precision") for key in factors)
    if is_about_loss and any(cell.search is None for cell in cells) and "optimizer.lr" not in factors:
        parts.append(
            "The learning rate was not searched for: it is the same at every level, and may suit one better "
            "than another."
        )
    if any(cell.search is not None for cell in cells):
        parts.append(
            "Every cell has a learning rate searched for it alone; intervals hold what another search "
            "might have chosen."
        )
    if len([name for name, _ in task.factors if name.startswith("weight_decay")]) > 1:
        parts.append(
            "The same weight decay is not the same setting in both kinds: l2 goes through the gradient, "
            "decoupled past it, so equal numbers are not compared."
        )
    batch = factors.get("budget.batch_size")
    if batch is not None and "budget.steps" not in batch.also:
        parts.append("At equal steps, a larger batch also sees more items.")
    if any(key.startswith("data.") for key in factors):
        parts.append("A setting of the data may change the items that the loss is measured on.")
    parts += [
        f"{factor.name} changes together with {', '.join(factor.also)}: their parts can't be told apart."
        for factor in factors.values()
        if factor.also
    ]
    return " ".join(parts)
