"""Processes seen from outside: how many of a session are there."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path


def list_processes(session: int, *, is_dead_listed: bool = False) -> list[int]:
    """Return the processes of a session that still run; on request those that nobody reaped, too."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, _, own = stat.read_text().rpartition(")")[2].split()[:4]
            if int(own) == session and (is_dead_listed or state != "Z"):
                found.append(int(stat.parent.name))
    return found


def count_processes(session: int) -> int:
    """Return how many processes of a session still run."""
    return len(list_processes(session))


def is_running(process: int) -> bool:
    """Return whether a process of this number runs; one that nobody reaped does not."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.1)
