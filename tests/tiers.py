"""Which cases of a test the default run takes, and which only the full one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def few(cases: Iterable[Any], count: int = 1) -> list[Any]:
    """Return parameters of which all but the first few are `thorough`: more of what those have tried."""
    kept = []
    for place, case in enumerate(cases):
        values = case if isinstance(case, tuple) else (case,)
        kept.append(case if place < count else pytest.param(*values, marks=pytest.mark.thorough))
    return kept
