"""Arenas with a single cell: they share tables and figures, which each would fill with one row."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TypeVar

import msgspec

from bench.report.sweep import Arena, Cell, Sweep
from bench.stats import summarise

ALONE = "Arenas in which one optimizer ran alone"

T = TypeVar("T")


def split_alone(sweep: Sweep) -> tuple[tuple[Arena, ...], tuple[Arena, ...]]:
    """Return the arenas to show one by one, and those with a single cell, which share what they show.

    A lone one of the latter shares with nobody: it is shown by itself.
    """
    alone = tuple(arena for arena in sweep.arenas if len(arena.cells) == 1)
    if len(alone) < 2:
        return sweep.arenas, ()
    return tuple(arena for arena in sweep.arenas if len(arena.cells) != 1), alone


def group_by_task(arenas: Iterable[Arena]) -> tuple[tuple[Arena, ...], ...]:
    """Return arenas sorted into those whose losses are losses of the same task: same data, same device."""
    groups: dict[str, list[Arena]] = {}
    for arena in arenas:
        workload, data = arena.study.workload, msgspec.to_builtins(arena.study.data)
        key = [workload.name, workload.version, data, arena.device]
        groups.setdefault(json.dumps(key, sort_keys=True), []).append(arena)
    return tuple(map(tuple, groups.values()))


def name_task(arenas: Sequence[Arena]) -> str:
    """Return what to call arenas of one task: by its workload, starred when something of it was changed."""
    if len(arenas) == 1:
        return arenas[0].name
    star = "*" if any(arena.study.is_workload_modified for arena in arenas) else ""
    return arenas[0].study.workload.name + star


def mean_loss(cell: Cell) -> float:
    """Return a cell's mean final loss, infinite where it has no honest one: what sorts it last."""
    return summarise(list(cell.losses.values()))[0] if cell.is_complete else math.inf


def spread(items: Sequence[T], at_most: int) -> list[T]:
    """Return evenly spaced items of an ordered list, its first and its last among them."""
    if len(items) <= at_most:
        return list(items)
    return [items[round(index * (len(items) - 1) / (at_most - 1))] for index in range(at_most)]


def name_some(names: Sequence[str], at_most: int = 3) -> str:
    """Return names as `a, b, c and 24 more`."""
    rest = len(names) - at_most
    return ", ".join(names[:at_most]) + (f" and {rest} more" if rest > 0 else "")


def shorten_names(arenas: Sequence[Arena]) -> dict[str, str]:
    """Return each arena's name -> what tells it from the others: `depth=2 width=64`."""
    words = {arena.name: arena.name.split(" ") for arena in arenas}
    counts = Counter(word for each in words.values() for word in set(each))
    keys = {word.partition("=")[0] for each in words.values() for word in each if "=" in word}
    tails = Counter(key.rpartition(".")[2] for key in keys)

    def strip(word: str) -> str:
        key, equals, value = word.partition("=")
        tail = key.rpartition(".")[2]
        return f"{tail}={value}" if equals and tails[tail] == 1 else word

    short = {
        name: " ".join(strip(word) for word in each if counts[word] < len(words))
        for name, each in words.items()
    }
    is_telling = all(short.values()) and len(set(short.values())) == len(short)
    return short if is_telling else {name: name for name in words}
