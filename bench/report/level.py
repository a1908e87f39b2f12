"""The levels of a setting: how each is written, and which of them is the baseline."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, TypeGuard

# Words for nothing: what the other levels are added to.
_NOTHING = ("null", "false", "none", "off", "no")


def is_number(value: object) -> TypeGuard[float]:
    """Return whether a setting is a number, which has an order; a switch has none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def show_level(value: Any) -> str:
    """Return a setting as a command would give it; equal numbers read alike, however they were typed."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if is_number(value):
        # Six digits unless they hide a difference.
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    return str(value)


def sort_levels(values: Sequence[Any], listed: Sequence[str], first: str | None = None) -> tuple[str, ...]:
    """Return each level once, the baseline first.

    The level named first comes first, if it is there. Nothing (null, false, none, off) stands before numbers,
    which rise, and these before words, which keep the order of the command: what a reader listed first is
    what the rest is compared with.

    Args:
        values: As typed, in any order.
        listed: The words of the command for this setting; any others come last, by the alphabet.
        first: The level that others are compared with whatever the order of the command; None: none is.
    """

    def rank(text: str) -> tuple[int, float, int, str]:
        value = typed[text]
        if text == first:
            return -1, 0.0, 0, text
        if text.lower() in _NOTHING:
            return 0, 0.0, 0, text
        if is_number(value):
            return 1, float(value), 0, text
        return 2, 0.0, listed.index(text) if text in listed else len(listed), text

    typed = {show_level(value): value for value in values}
    return tuple(sorted(typed, key=rank))


def list_words(command: str) -> dict[str, list[str]]:
    """Return the values that a command lists for each key, in its order."""
    pairs = [part.partition("=") for part in command.split()]
    return {key.lstrip("+"): value.split(",") for key, sign, value in pairs if sign}
