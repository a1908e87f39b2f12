"""Whether the searches of an arena were fair and finished: each reason to doubt them, and what settles it."""

from __future__ import annotations

from collections.abc import Iterable

from bench.effort import Dimension
from bench.report.decay import set_key
from bench.report.sweep import Arena, Cell, Concern, Sweep
from bench.report.tuning import LR, list_settings

# What a range grows by when a command widens it by hand.
_GROWTH = 10.0


def find_search_concerns(sweep: Sweep) -> Iterable[Concern]:
    """Return every warning about the searches of a sweep, most important first."""
    yield from _find_unfinished(sweep)
    yield from _find_fruitless(sweep)
    yield from _find_edges(sweep)
    yield from _find_unequal(sweep)


def describe_effort(arenas: Iterable[Arena]) -> str | None:
    """Return what each optimizer was given; None where nothing was searched.

    As `9 lr settings each (equal), 1-3 search seeds, best 3 confirmed`.
    """
    by_arena = [[cell for cell in arena.cells if cell.search is not None] for arena in arenas]
    cells = [cell for each in by_arena for cell in each]
    if not cells:
        return None
    counts = sorted({len(list_settings(cell)) for cell in cells})
    names = {key.split(".", 1)[-1] for cell in cells if cell.search for key in cell.search.space}
    what = " x ".join(sorted(names, key=lambda name: (name != "lr", name))) if len(names) < 3 else "full"
    equal = f"{counts[0]} {what} settings each (equal)"
    # Ranges widen arena by arena, and optimizers are compared in one arena only.
    is_fair = all(len({len(list_settings(cell)) for cell in each}) == 1 for each in by_arena)
    fairness = "equal in each arena" if is_fair else "UNEQUAL"
    unequal = f"{counts[0]}-{counts[-1]} {what} settings ({fairness})"
    trials = [setting for cell in cells for setting in list_settings(cell)]
    seeds = sorted({len(setting.losses) for setting in trials if setting.losses})
    spread = "-".join(map(str, dict.fromkeys((seeds[0], seeds[-1])))) if seeds else "no"
    text = f"{equal if len(counts) == 1 else unequal}, {spread} search seed{'s' * (seeds != [1])}"
    confirmed = max(sum(setting.is_confirmed for setting in list_settings(cell)) for cell in cells)
    samplers = sorted({cell.search.sampler for cell in cells if cell.search} - {"grid"})
    by = f" by {'/'.join(samplers)}" if samplers else ""
    return text + by + (f", best {confirmed} confirmed" if confirmed else "")


def _searched(sweep: Sweep) -> list[tuple[Arena, Cell]]:
    return [(arena, cell) for arena in sweep.arenas for cell in arena.cells if cell.search is not None]


def _name(cells: list[tuple[Arena, Cell]], at_most: int = 3) -> str:
    names = [f"{arena.name}/{cell.label}" for arena, cell in cells]
    rest = len(names) - at_most
    return ", ".join(names[:at_most]) + (f" and {rest} more" if rest > 0 else "")


def _find_unfinished(sweep: Sweep) -> Iterable[Concern]:
    cells = [(arena, cell) for arena, cell in _searched(sweep) if cell.search and not cell.search.is_final]
    if cells:
        count = f"{len(cells)} search{'es' * (len(cells) != 1)} unfinished"
        yield Concern(
            brief=f"PRELIMINARY: {count}; settings may still change, the same command goes on",
            text=f"PRELIMINARY: {count} ({_name(cells)}): confirmation or widening is still to come, so the "
            "chosen settings, and every verdict, may change. The same command goes on where it stopped.",
            command=sweep.manifest.command,
        )


def _find_fruitless(sweep: Sweep) -> Iterable[Concern]:
    for arena, cell in _searched(sweep):
        if cell.search is not None and cell.search.best is None:
            num = len(cell.search.trials)
            yield Concern(
                brief=f"{arena.name}/{cell.label}: all {num} settings diverged or failed; search lower lrs:",
                text=f"{arena.name}/{cell.label}: all {num} settings of its search diverged or failed, so "
                "it has no setting to evaluate, and nothing is said of it but that. Search lower learning "
                "rates:",
                command=_reach_further(sweep.manifest.command, cell, is_low=True),
            )


def _find_edges(sweep: Sweep) -> Iterable[Concern]:
    for arena, cell in _searched(sweep):
        search = cell.search
        # An unfinished search may still widen.
        if search is None or search.edge is None or not search.is_final:
            continue
        lrs = sorted({setting.lr for setting in list_settings(cell) if setting.lr is not None})
        end = "top" if search.edge == "high" else "bottom"
        verb = "tops" if search.edge == "high" else "ends"
        lr = "?" if cell.lr is None else f"{cell.lr:.3g}"
        span = f" ({lrs[0]:.3g} to {lrs[-1]:.3g})" if lrs else ""
        # The reference's own edge weakens every claim against it.
        word = "claims of better than it are" if cell is arena.reference else '"worse" is'
        name = f"{arena.name}/{cell.label}"
        yield Concern(
            brief=f"{name}: best lr {lr} {verb} its range: {word} unsupported; {_name_remedy(sweep, cell)}",
            text=f"{name}: best lr {lr} is the {end} of its range{span}, so a better one may lie beyond: "
            f"{word} unsupported. A win is not touched by it. Widen the range, for all optimizers alike:",
            command=_widen(sweep, cell),
        )


def _find_unequal(sweep: Sweep) -> Iterable[Concern]:
    for arena in sweep.arenas:
        counts = {cell.label: len(list_settings(cell)) for cell in arena.cells if cell.search is not None}
        if len(set(counts.values())) < 2:
            continue
        fewest, most = min(counts.values()), max(counts.values())
        poor = [label for label, count in counts.items() if count < most]
        names = ", ".join(poor[:4]) + (f" and {len(poor) - 4} more" if len(poor) > 4 else "")
        command = set_key(sweep.manifest.command, "search.trials", str(most))
        yield Concern(
            brief=f"{arena.name}: unequal search, {fewest} to {most} settings: no claim against {names}; "
            f"search.trials={most}",
            text=f"{arena.name}: the searches had unequal numbers of settings ({fewest} to {most}). Nothing "
            f"is claimed against those with fewer ({names}). More trials only add to those already stored.",
            command=command,
        )


def _name_remedy(sweep: Sweep, cell: Cell) -> str:
    """Return the override alone, where it is short enough for the terminal."""
    asked = sweep.manifest.command.split(" ")
    added = [part for part in _widen(sweep, cell).split(" ") if part not in asked]
    return " ".join(added) or "run the same command again, on one machine"


def _widen(sweep: Sweep, cell: Cell) -> str:
    """Return the command that widens a cell's range: more rounds, or more of the range at once."""
    command, spec, search = sweep.manifest.command, cell.study.search, cell.search
    assert search is not None, cell.label
    if not spec.widen:
        return set_key(command, "search.widen", "true")
    if search.num_widened >= spec.widen_rounds:
        return set_key(command, "search.widen_rounds", str(2 * max(spec.widen_rounds, 1)))
    # A study that ran without its arena beside it could not widen; together they can.
    parts = [part for part in command.split(" ") if not part.startswith("hydra/launcher=")]
    if len(parts) < len(command.split(" ")):
        return " ".join(parts)
    return _reach_further(command, cell, is_low=search.edge == "low")


def _reach_further(command: str, cell: Cell, *, is_low: bool) -> str:
    """Return a command whose first pass reaches beyond the range that a cell's search had."""
    spec, search = cell.study.search, cell.search
    if spec.sampler == "grid" and LR not in spec.space:
        # A grid grows from its centre, at the same spacing.
        return set_key(command, "search.trials", str(2 * spec.trials - 1))
    dimension = search.space.get(LR, Dimension()) if search is not None else Dimension()
    declared = cell.study.optimizer.search.lr
    low, high = dimension.low or declared.low, dimension.high or declared.high
    low, high = (low / _GROWTH, high) if is_low else (low, high * _GROWTH)
    # Quoted, since a shell reads braces.
    part = f"'+search.space.{LR}={{low:{low:.3g},high:{high:.3g},log:true}}'"
    return " ".join([*(each for each in command.split(" ") if f"search.space.{LR}=" not in each), part])
