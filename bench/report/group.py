"""Sorting cells into arenas, each with a name of its own: no comparison crosses from one to another."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from bench.report.label import label_cells
from bench.report.naming import find_differing, flatten, number_repeats, show_value
from bench.report.sweep import Arena, Cell
from bench.report.variant import show_precision
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
        labelled = sorted(label_cells(group), key=_rank)
        ordered = tuple(cell for cell in labelled if cell.variant_of is None)
        arenas.append(
            Arena(
                name=name,
                settings=setting,
                cells=ordered,
                variants=tuple(cell for cell in labelled if cell.variant_of is not None),
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
    return {key: show_value(value) for key, value in flatten(_raw_settings(cell)).items()}


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
        "precision": show_precision(cell),
        "horizon": study.horizon,
        "budget": msgspec.to_builtins(study.budget),
        "search": _search_settings(study),
        "seeds.vary": ", ".join(study.seeds.vary),
        "clip_norm": study.clip_norm,
        "ema": study.ema,
        "device": _device(cell),
        "threads": study.threads,
        "processes": study.processes,
        **({"hardware": cell.hardware} if cell.hardware else {}),
    }


def _search_settings(study: Study) -> dict[str, Any]:
    settings = msgspec.to_builtins(study.search)
    # Where trials are kept changes no number, and its address may hold a password.
    del settings["storage"]
    return dict(settings)


def _device(cell: Cell) -> str:
    return cell.ends[0].run.device if cell.ends else cell.study.device


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
        differing = [key for key in find_differing(rivals) if key != "workload"]
        names.append(" ".join([label, *(_name_setting(key, setting) for key in differing)]))
    return number_repeats(names)


def _name_setting(key: str, setting: dict[str, str]) -> str:
    value = setting.get(key, "null")
    # The names of precisions say of themselves what they are.
    return value if key == "precision" else f"{key}={value}"


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
