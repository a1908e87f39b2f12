"""What a cell is called inside its arena, and which cells are one optimizer computed in several ways."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec

from bench.report.naming import find_differing, flatten, number_repeats, show_value
from bench.report.sweep import Cell
from bench.report.variant import list_words, name_variant, rank_variant


def label_cells(group: Sequence[Cell]) -> list[Cell]:
    """Return an arena's cells under labels of their own; of a cell asked for twice, the longer one.

    Cells that differ only in how a step is computed have the same loss, to the last bits at most: the
    plainest that finished stands for the others, which are its variants. Compared like rivals, they would
    count one comparison as several.
    """
    unique: dict[str, Cell] = {}
    for cell in group:
        key = json.dumps([_identify(cell), list_words(cell)], sort_keys=True)
        known = unique.get(key)
        if known is None or len(known.ends) < len(cell.ends):
            unique[key] = cell
    families: dict[str, list[Cell]] = {}
    # By settings, not by order of arrival: labels may not depend on the order of the command line.
    for _, cell in sorted(unique.items()):
        families.setdefault(json.dumps(_identify(cell), sort_keys=True), []).append(cell)
    by_name: dict[str, list[list[Cell]]] = defaultdict(list)
    for family in families.values():
        by_name[family[0].study.optimizer.name].append(sorted(family, key=rank_variant))
    cells, labels, stands = [], [], []
    for name, namesakes in by_name.items():
        settings = [_optimizer_settings(family[0]) for family in namesakes]
        differing = find_differing(settings)
        for family, setting in zip(namesakes, settings, strict=True):
            label = " ".join([name, *(f"{key}={setting.get(key, 'null')}" for key in differing)])
            cells += family
            labels += [" ".join([label, *name_variant(cell, family[0])]) for cell in family]
            stand = min(family, key=lambda cell: (bool(cell.obstacle), not cell.is_complete))
            stands += [stand] * len(family)
    labels = number_repeats(labels)
    label_of = {id(cell): label for cell, label in zip(cells, labels, strict=True)}
    return [
        replace(cell, label=label, variant_of=None if cell is stand else label_of[id(stand)])
        for cell, label, stand in zip(cells, labels, stands, strict=True)
    ]


def _identify(cell: Cell) -> dict[str, Any]:
    """Return all of an optimizer but how its step is computed."""
    settings = msgspec.to_builtins(cell.study.optimizer)
    settings.pop("impl", None)
    return dict(settings)


def _optimizer_settings(cell: Cell) -> dict[str, str]:
    settings = _identify(cell)
    # The range to search changes no number here.
    del settings["search"], settings["name"]
    settings["_target_"] = settings.pop("target")
    return {key: show_value(value) for key, value in flatten(settings).items()}
