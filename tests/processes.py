"""Processes seen from outside: how many of a session still run."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path


def count_processes(session: int) -> int:
    """Return how many processes that still run belong to a session."""
    count = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, _, own = stat.read_text().rpartition(")")[2].split()[:4]
            count += int(own) == session and state != "Z"
    return count


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.1)
