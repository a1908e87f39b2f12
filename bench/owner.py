"""Who holds a claim, and whether that process still lives: only a dead one's work is taken over."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def myself() -> dict[str, Any]:
    """Return what identifies this process for as long as it lives: host, pid, and when it began.

    The beginning is there because pids are used again, by the host's next boot at the latest.
    """
    return {"host": socket.gethostname(), "pid": os.getpid(), "began": _began(os.getpid())}


def is_here(owner: Mapping[str, Any]) -> bool:
    """Return whether an owner is of this host: of others nothing can be said."""
    return owner.get("host") == socket.gethostname()


def is_alive(owner: Mapping[str, Any]) -> bool:
    """Return whether an owner of this host still lives; its pid under another process does not count."""
    return bool(_began(int(owner["pid"])) == owner["began"])


def _began(pid: int) -> str | None:
    """Return the start of a process as text that no other process has; None when there is no such process."""
    if not Path("/proc/self/stat").exists():
        # Elsewhere than on Linux a pid has to do.
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return None
        except PermissionError:
            pass
        return "running"
    try:
        # The name, in parentheses, may hold some itself. After it state is the first field, start the 20th.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    if fields[0] in ("Z", "X"):
        return None
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot}:{fields[19]}"
