"""In which fields a stored result is other than what is asked for: the parts of an id, in words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from bench.identity import NUMERICS, find_numerics, identify, run_id
from bench.report.escape import shorten
from bench.result import Machine, Result
from bench.spec import Run
from bench.store import environment


def compare(result: Result, run: Run, machine: Machine) -> tuple[str, ...]:
    """Return a line for each field in which a result does not answer a run, such as `seed: 0 -> 1`.

    Args:
        result: As it is stored.
        run: What is asked for.
        machine: Where.
    """
    then, now = _flatten(identify(result.run)), _flatten(identify(run))
    lines = [
        _describe(key, then.get(key), now.get(key))
        for key in sorted(then.keys() | now.keys())
        if then.get(key) != now.get(key)
    ]
    if result.id != run_id(result.run):
        numerics = find_numerics(result.run, result.id)
        lines.append(f"NUMERICS: {numerics or 'of another bench'} -> {NUMERICS}")
    if environment(result.machine) != environment(machine):
        pairs = [
            (name, getattr(result.machine, name), getattr(machine, name)) for name in ("torch", "device_name")
        ]
        lines += [f"{name}: {shorten(a, 40)} -> {shorten(b, 40)}" for name, a, b in pairs if a != b]
    return tuple(lines)


def _flatten(value: Mapping[str, Any], before: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for key, item in value.items():
        if isinstance(item, Mapping):
            found |= _flatten(item, f"{before}{key}.")
        else:
            # As on a command line, where arguments stand beside what a part is.
            found[f"{before}{key}".replace(".args.", ".")] = json.dumps(item)
    return found


def _describe(key: str, then: str | None, now: str | None) -> str:
    if key == "data.sha256":
        return "data: its content changed"
    kind, _, rest = key.partition(".")
    if kind == "sources":
        if then and now and "sha256:" in then and "sha256:" in now:
            return f"code of {shorten(rest, 48)} changed"
        key = f"code of {rest}"
    return f"{shorten(key, 60)}: {shorten(then or 'absent', 32)} -> {shorten(now or 'absent', 32)}"
