"""Sorting cells into arenas, each with a name of its own: no comparison crosses from one to another."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from bench.report.sweep import Arena, Cell
from bench.spec import Study
from bench.stats import summarise

DEFAULT_REFERENCE = "adamw"


def group_arenas(cells: Sequence[Cell], reference: str | None) -> tuple[Arena, ...]:
    """Return the arenas of a sweep, in the order their first cell came.

    Args:
        cells: All cells of a sweep, under their bare optimizer names.
        reference: Name or label of the optimizer to compare with, or None.
    """
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        key = json.dumps(_raw_settings(cell), sort_keys=True)
        groups.setdefault(key, []).append(cell)
    settings = [arena_settings(group[0]) for group in groups.values()]
    names = _name_arenas([workload_label(group[0].study) for group in groups.values()], settings)
    arenas = []
    for name, setting, group in zip(names, settings, groups.values(), strict=True):
        labelled = _label_cells(group)
        ordered = tuple(sorted(labelled, key=_rank))
        arenas.append(
            Arena(
                name=name,
                settings=setting,
                cells=ordered,
                reference=_choose_reference(ordered, reference),
                device=_device(ordered[0]),
            )
        )
    return tuple(arenas)


def workload_label(study: Study) -> str:
    """Return the workload's name, starred when something of it was changed, and its horizon unless full."""
    star = "*" if study.is_workload_modified else ""
    return study.workload.name + star + (f" at {study.horizon:g}x" if study.horizon != 1 else "")


def arena_settings(cell: Cell) -> dict[str, str]:
    """Return every setting that may move a number, but the optimizer's: dotted key -> value as text."""
    return {key: _show(value) for key, value in flatten(_raw_settings(cell)).items()}


def _raw_settings(cell: Cell) -> dict[str, Any]:
    study = cell.study
    return {
        "workload": workload_label(study),
        "workload.version": study.workload.version,
        "workload.effect": study.workload.effect,
        "workload.margin": study.workload.margin,
        "data": msgspec.to_builtins(study.data),
        "model": msgspec.to_builtins(study.model),
        "schedule": msgspec.to_builtins(study.schedule),
        "precision": msgspec.to_builtins(study.precision),
        "horizon": study.horizon,
        "budget": msgspec.to_builtins(study.budget),
        "search": _search_settings(study),
        "seeds.vary": ", ".join(study.seeds.vary),
        "clip_norm": study.clip_norm,
        "ema": study.ema,
        "device": _device(cell),
        "threads": study.threads,
    }


def _search_settings(study: Study) -> dict[str, Any]:
    settings = msgspec.to_builtins(study.search)
    # Where trials are kept changes no number, and its address may hold a password.
    del settings["storage"]
    return dict(settings)


def flatten(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings under dotted keys, as typed; a name stands for its group."""
    flat: dict[str, Any] = {}
    for key, item in value.items():
        path = prefix if key in ("name", "args") and prefix else f"{prefix}.{key}" if prefix else key
        if isinstance(item, dict):
            flat.update(flatten(item, path))
        else:
            flat[path] = item
    return flat


def _device(cell: Cell) -> str:
    return cell.ends[0].run.device if cell.ends else cell.study.device


def _show(value: Any) -> str:
    if isinstance(value, float):
        # Six digits unless they hide a difference.
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    return "null" if value is None else str(value)


def _differing(settings: Sequence[dict[str, str]]) -> list[str]:
    """Return the keys that differ, without those that a differing group name already explains."""
    keys = list(dict.fromkeys(key for setting in settings for key in setting))
    differing = [key for key in keys if len({setting.get(key) for setting in settings}) > 1]
    # The star of a modified workload names none of its parts.
    groups = {key for key in differing if key != "workload"}
    return [key for key in differing if key.split(".")[0] == key or key.split(".")[0] not in groups]


def _name_arenas(labels: Sequence[str], settings: Sequence[dict[str, str]]) -> list[str]:
    """Return one name per arena: the workload's, and what sets it apart from arenas of the same workload."""
    names = []
    for label, setting in zip(labels, settings, strict=True):
        # A modified workload is told from its original too; the original keeps its bare name.
        rivals = [
            other
            for other_label, other in zip(labels, settings, strict=True)
            if other_label == label or other_label == label.replace("* at ", " at ").removesuffix("*")
        ]
        differing = [key for key in _differing(rivals) if key != "workload"]
        names.append(" ".join([label, *(f"{key}={setting.get(key, 'null')}" for key in differing)]))
    return _number_repeats(names)


def _number_repeats(names: Sequence[str]) -> list[str]:
    """Return the names with ` #2`, ` #3` at repeats: whatever a name holds, no two things share one."""
    taken: set[str] = set()
    unique = []
    for name in names:
        candidate, number = name, 1
        while candidate in taken:
            number += 1
            candidate = f"{name} #{number}"
        taken.add(candidate)
        unique.append(candidate)
    return unique


def _label_cells(group: Sequence[Cell]) -> list[Cell]:
    """Return an arena's cells under labels of their own; of a cell asked for twice, the longer one."""
    unique: dict[str, Cell] = {}
    for cell in group:
        key = json.dumps(msgspec.to_builtins(cell.study.optimizer), sort_keys=True)
        known = unique.get(key)
        if known is None or len(known.ends) < len(cell.ends):
            unique[key] = cell
    by_name: dict[str, list[Cell]] = defaultdict(list)
    # By settings, not by order of arrival: labels may not depend on the order of the command line.
    for _, cell in sorted(unique.items()):
        by_name[cell.study.optimizer.name].append(cell)
    cells, labels = [], []
    for name, namesakes in by_name.items():
        settings = [_optimizer_settings(cell) for cell in namesakes]
        differing = _differing(settings)
        for cell, setting in zip(namesakes, settings, strict=True):
            cells.append(cell)
            labels.append(" ".join([name, *(f"{key}={setting.get(key, 'null')}" for key in differing)]))
    return [replace(cell, label=label) for cell, label in zip(cells, _number_repeats(labels), strict=True)]


def _optimizer_settings(cell: Cell) -> dict[str, str]:
    settings = msgspec.to_builtins(cell.study.optimizer)
    # The range to search changes no number here.
    del settings["search"], settings["name"]
    settings["_target_"] = settings.pop("target")
    return {key: _show(value) for key, value in flatten(settings).items()}


def _rank(cell: Cell) -> tuple[bool, bool, float, str]:
    if not cell.is_complete:
        return True, cell.obstacle is not None, 0.0, cell.label
    return False, False, summarise(list(cell.losses.values()))[0], cell.label


def _choose_reference(cells: Iterable[Cell], reference: str | None) -> Cell:
    """Return the cell all others are compared with; among namesakes the first label, whatever the order.

    One that can't exist here is none, as long as another can.
    """
    by_label = sorted(cells, key=lambda cell: cell.label)
    by_label = [cell for cell in by_label if cell.obstacle is None] or by_label
    for wanted in (reference, DEFAULT_REFERENCE):
        for cell in by_label:
            if wanted == cell.label:
                return cell
        for cell in by_label:
            if wanted == cell.study.optimizer.name:
                return cell
    return by_label[0]
