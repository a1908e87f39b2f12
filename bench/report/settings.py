"""Every setting that may move a number, as tables: of an arena, of its optimizers, or of many arenas."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pandas as pd

from bench.report.alone import shorten_names
from bench.report.escape import slug
from bench.report.naming import flatten
from bench.report.sweep import Arena, Cell
from bench.report.tables import Column, Table
from bench.report.variant import show_compile, show_recompute

_MAX_ROWS = 200


def tabulate_settings(arena: Arena) -> Table:
    """Return what all cells of an arena share, one row per setting."""
    keys, values = tuple(arena.settings), tuple(arena.settings.values())
    return Table(
        name=f"settings_{slug(arena.name)}",
        title=f"{arena.name}: settings shared by all optimizers",
        columns=(Column(header="key", cells=keys), Column(header="value", cells=values)),
        data=pd.DataFrame({"key": keys, "value": values}),
        is_folded=True,
    )


def tabulate_optimizers(arena: Arena) -> Table:
    """Return the settings of each optimizer of an arena."""
    rows = [_describe_optimizer(cell) for cell in arena.all_cells]

    def column(header: str, key: str, *, is_number: bool = False) -> Column:
        return Column(
            header=header, cells=tuple(row[key] for row in rows), style="general" if is_number else "text"
        )

    return Table(
        name=f"optimizers_{slug(arena.name)}",
        title=f"{arena.name}: settings of each optimizer",
        columns=(
            column("optimizer", "optimizer"),
            column("class", "target"),
            column("lr", "lr", is_number=True),
            column("weight decay", "weight_decay", is_number=True),
            column("its kind", "weight_decay_kind"),
            column("implementation", "impl"),
            column("recompute", "recompute"),
            column("compile", "compile"),
            column("arguments", "arguments"),
            column("declared lr (range; source)", "lr_declared"),
        ),
        data=pd.DataFrame(rows),
        is_folded=True,
    )


def tabulate_pooled(arenas: Sequence[Arena]) -> tuple[Table, ...]:
    """Return one table of what all cells of several arenas share, and one of what they differ in."""
    cells = [(arena, cell) for arena in arenas for cell in arena.all_cells]
    settings = [{**arena.settings, **_name_settings(cell)} for arena, cell in cells]
    keys = list(dict.fromkeys(key for each in settings for key in each))
    differing = [key for key in keys if len({each.get(key) for each in settings}) > 1]
    shared = {key: settings[0][key] for key in keys if key not in differing}
    # Every row says so anyway.
    differing = [key for key in differing if key != "optimizer.name"]
    names = [(arena.name, cell.label) for arena, cell in cells]
    frame = pd.DataFrame(
        [
            {"arena": arena, "optimizer": label, **{key: each.get(key) for key in differing}}
            for (arena, label), each in zip(names, settings, strict=True)
        ]
    )
    rest = len(cells) - _MAX_ROWS
    return (
        _tabulate_shared(shared),
        Table(
            name="settings_differing",
            title=f"The {len(differing)} settings that differ, by arena",
            columns=tuple(_turn(arenas, cells, settings, differing)),
            data=frame,
            note=f"{rest} more in tables/settings_differing.csv." if rest > 0 else None,
            is_folded=True,
        ),
    )


def _tabulate_shared(shared: dict[str, Any]) -> Table:
    keys, values = tuple(shared), tuple(map(_show, shared.values()))
    return Table(
        name="settings_shared",
        title="Settings shared by all of them",
        columns=(Column(header="key", cells=keys), Column(header="value", cells=values)),
        data=pd.DataFrame({"key": keys, "value": tuple(shared.values())}),
        is_folded=True,
    )


def _turn(
    arenas: Sequence[Arena],
    cells: Sequence[tuple[Arena, Cell]],
    settings: Sequence[dict[str, Any]],
    keys: Sequence[str],
) -> list[Column]:
    """Return one row per cell, or where the settings outnumber the cells, one row per setting."""
    short = shorten_names(arenas)
    shown = list(zip(cells, settings, strict=True))[:_MAX_ROWS]
    if len(keys) <= len(shown):
        return [
            Column(header="arena", cells=tuple(arena.name for (arena, _), _ in shown)),
            Column(header="optimizer", cells=tuple(cell.label for (_, cell), _ in shown)),
            *(Column(header=key, cells=tuple(_show(each.get(key)) for _, each in shown)) for key in keys),
        ]
    return [
        Column(header="key", cells=tuple(keys)),
        *(
            Column(
                header=f"{short[arena.name]} {cell.label}" if len(arena.all_cells) > 1 else short[arena.name],
                cells=tuple(_show(each.get(key)) for key in keys),
            )
            for (arena, cell), each in shown
        ),
    ]


def _name_settings(cell: Cell) -> dict[str, Any]:
    """Return an optimizer's settings under dotted keys."""
    settings = _describe_optimizer(cell)
    settings["name"] = settings.pop("optimizer")
    return {f"optimizer.{key}": value for key, value in settings.items()}


def _show(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "null" if value is None else str(value)


def _describe_optimizer(cell: Cell) -> dict[str, Any]:
    optimizer = cell.optimizer
    args = flatten({"args": msgspec.to_builtins(optimizer.args), "groups": optimizer.groups})
    search = optimizer.search.lr
    return {
        "optimizer": cell.label,
        "target": optimizer.target,
        "lr": cell.lr,
        "lr_asked": str(cell.study.optimizer.lr),
        "weight_decay": optimizer.weight_decay,
        "weight_decay_kind": optimizer.weight_decay_kind or "unknown",
        "impl": optimizer.impl or "the class decides",
        "recompute": show_recompute(cell),
        "compile": show_compile(cell),
        "arguments": ", ".join(f"{key.removeprefix('args.')}={value}" for key, value in args.items()),
        "lr_declared": f"{search.default:g} ({search.low:g} to {search.high:g}; {search.source})",
    }
