"""Settings as words, and names made of those in which things differ: nothing on a page shares a name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


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


def show_value(value: Any) -> str:
    if isinstance(value, float):
        # Six digits unless they hide a difference.
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    return "null" if value is None else str(value)


def find_differing(settings: Sequence[dict[str, str]]) -> list[str]:
    """Return the keys that differ, without those that a differing group name already explains."""
    keys = list(dict.fromkeys(key for setting in settings for key in setting))
    differing = [key for key in keys if len({setting.get(key) for setting in settings}) > 1]
    # The star of a modified workload names none of its parts.
    groups = {key for key in differing if key != "workload"}
    return [key for key in differing if key.split(".")[0] == key or key.split(".")[0] not in groups]


def number_repeats(names: Sequence[str]) -> list[str]:
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
