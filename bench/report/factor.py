"""Which settings a sweep varies beside the optimizer, so that the report can say what each of them does."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from bench.report.level import is_number, list_words, show_level, sort_levels
from bench.report.naming import flatten
from bench.report.sweep import Arena, Cell, Sweep
from bench.report.variant import BASELINES, show_compile, show_precision, show_recompute

# Parts of a study that change no loss, or say which task it is and so are the same for all its cells.
_APART = (
    "do",
    "workload",
    "is_workload_modified",
    "device",
    "seeds",
    "meter",
    "engine",
    "report",
    "place",
    "retry",
    "device_memory_gib",
)
_OF_DATA = ("data", "data.target", "data.version", "data.licence", "data.sha256", "data.item")


@dataclass(frozen=True, kw_only=True)
class Factor:
    """A setting that cells of one optimizer differ in."""

    # As on the command line: model.dropout.
    key: str
    # As shown: dropout, or weight_decay (decoupled).
    name: str
    # The baseline first: nothing, else the smallest number, else the first word that the command lists.
    levels: tuple[str, ...]
    is_numeric: bool
    # Keys that change with this one and only with it: whose doing it is can't be told.
    also: tuple[str, ...]

    @property
    def baseline(self) -> str:
        """The level that all others are compared with."""
        return self.levels[0]


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The cells of one optimizer in one task, over the settings that they differ in."""

    optimizer: str
    factors: tuple[Factor, ...]
    # By one level of each factor, in their order; a combination that was not asked for is absent.
    cells: Mapping[tuple[str, ...], Cell]
    # Beside the cells.
    arenas: Mapping[tuple[str, ...], Arena]


@dataclass(frozen=True, kw_only=True)
class Task:
    """One workload on one data set and device, and the grids of all optimizers in it."""

    name: str
    # Any of its arenas, for the scale that effects are measured on.
    arena: Arena
    grids: tuple[Grid, ...]

    @property
    def factors(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Name and levels of every factor, over all optimizers."""
        found: dict[str, list[Factor]] = {}
        for factor in (factor for grid in self.grids for factor in grid.factors):
            found.setdefault(factor.name, []).append(factor)
        return tuple((name, _merge(factors)) for name, factors in found.items())


def find_tasks(sweep: Sweep) -> tuple[Task, ...]:
    """Return the tasks in which cells of one optimizer differ in a setting, in the order of their arenas."""
    groups: dict[str, list[tuple[Arena, Cell]]] = {}
    for arena in sweep.arenas:
        # What can't exist here is said elsewhere; it is no level of anything.
        for cell in (cell for cell in arena.all_cells if cell.obstacle is None):
            groups.setdefault(_identify(arena, cell), []).append((arena, cell))
    listed = list_words(sweep.manifest.command)
    tasks: list[Task] = []
    for group in groups.values():
        by_optimizer: dict[tuple[str, str], list[tuple[Arena, Cell]]] = {}
        for arena, cell in group:
            optimizer = cell.study.optimizer
            by_optimizer.setdefault((optimizer.name, optimizer.target), []).append((arena, cell))
        grids = tuple(_lay_out(name, cells, listed) for (name, _), cells in sorted(by_optimizer.items()))
        if any(grid.factors for grid in grids):
            star = "*" if any(cell.study.is_workload_modified for _, cell in group) else ""
            name = group[0][1].study.workload.name + star
            again = sum(task.name.partition(" #")[0] == name for task in tasks)
            name += f" #{again + 1}" if again else ""
            tasks.append(Task(name=name, arena=group[0][0], grids=grids))
    return tuple(tasks)


def _identify(arena: Arena, cell: Cell) -> str:
    """Return what cells must share for their losses to be losses of the same task."""
    workload, data = cell.study.workload, cell.study.data
    task = (workload.name, workload.version, workload.effect, workload.margin)
    return json.dumps([task, data.name, data.target, data.sha256, arena.device, cell.study.seeds.vary])


def _lay_out(
    optimizer: str, cells: Sequence[tuple[Arena, Cell]], listed: Mapping[str, Sequence[str]]
) -> Grid:
    settings = [_list_settings(cell) for _, cell in cells]
    kept = _choose_keys(settings)
    factors = tuple(_describe(key, also, settings, cells[0][1], listed) for key, also in kept.items())
    places = [tuple(show_level(setting.get(key)) for key in kept) for setting in settings]
    return Grid(
        optimizer=optimizer,
        factors=_name_apart(factors),
        cells={place: cell for place, (_, cell) in zip(places, cells, strict=True)},
        arenas={place: arena for place, (arena, _) in zip(places, cells, strict=True)},
    )


def _list_settings(cell: Cell) -> dict[str, Any]:
    """Return what may be a factor of a cell, dotted key -> value as typed."""
    plain: dict[str, Any] = msgspec.to_builtins(cell.study)
    # An address, which changes no number and may hold a password.
    del plain["search"]["storage"], plain["optimizer"]["name"], plain["optimizer"]["target"]
    for key, show in (
        ("precision", show_precision),
        ("recompute", show_recompute),
        ("compile", show_compile),
    ):
        # In a word, so that each is one factor.
        plain[key] = show(cell)
    flat = flatten({key: value for key, value in plain.items() if key not in _APART})
    is_searched = cell.search is not None and "optimizer.lr" in cell.search.space
    if not is_searched and cell.lr is not None:
        # `auto` and the number that it stands for are one level.
        flat["optimizer.lr"] = cell.lr
    return {key: value for key, value in flat.items() if key not in _OF_DATA}


def _choose_keys(settings: Sequence[Mapping[str, Any]]) -> dict[str, tuple[str, ...]]:
    """Return the keys that vary of their own, each with those that follow it.

    A key that the ones before it determine adds nothing: what a preset sets follows the preset's name, and of
    two keys that change together the second follows the first.
    """
    keys = list(dict.fromkeys(key for setting in settings for key in setting))
    values = {key: [show_level(setting.get(key)) for setting in settings] for key in keys}
    varying = [key for key in keys if len(set(values[key])) > 1]
    # A group's name, and what belongs to no group, before what they may set.
    varying.sort(key=lambda key: "." in key)
    kept: dict[str, list[str]] = {}
    for key in varying:
        if not _determines([values[name] for name in kept], values[key]):
            kept[key] = []
            continue
        leader = next((name for name in kept if _determines([values[name]], values[key])), None)
        # Members of a group whose name varies go without saying.
        if leader is not None and not key.startswith(f"{leader}."):
            kept[leader].append(key)
    return {key: tuple(also) for key, also in kept.items()}


def _determines(columns: Sequence[Sequence[str]], column: Sequence[str]) -> bool:
    seen: dict[tuple[str, ...], str] = {}
    rows = zip(*columns, strict=True) if columns else [()] * len(column)
    return all(seen.setdefault(row, value) == value for row, value in zip(rows, column, strict=True))


def _describe(
    key: str,
    also: tuple[str, ...],
    settings: Sequence[Mapping[str, Any]],
    cell: Cell,
    listed: Mapping[str, Sequence[str]],
) -> Factor:
    values = [setting.get(key) for setting in settings]
    name = key.split(".", 1)[-1]
    if key == "optimizer.weight_decay":
        # The same number means another thing in either kind: they never share a name.
        name += f" ({cell.optimizer.weight_decay_kind or 'kind unknown'})"
    return Factor(
        key=key,
        name=name,
        levels=sort_levels(values, listed.get(key, ()), BASELINES.get(key)),
        is_numeric=all(is_number(value) for value in values),
        also=also,
    )


def _name_apart(factors: Sequence[Factor]) -> tuple[Factor, ...]:
    """Return factors under short names, but under their keys where two short names are alike."""
    names = [factor.name for factor in factors]
    return tuple(
        replace(factor, name=factor.key) if names.count(factor.name) > 1 else factor for factor in factors
    )


def _merge(factors: Sequence[Factor]) -> tuple[str, ...]:
    """Return the levels that any optimizer had of one factor, in order."""
    levels = list(dict.fromkeys(level for factor in factors for level in factor.levels))
    if all(factor.is_numeric for factor in factors):
        return tuple(sorted(levels, key=float))
    return tuple(levels)
