"""A process that is gone is told from one that lives, also when its pid was given to another."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bench import owner


def test_this_process_lives_here() -> None:
    me = owner.myself()
    assert owner.is_here(me)
    assert owner.is_alive(me)
    assert me == owner.myself()
    assert not owner.is_here(me | {"host": "elsewhere"})
    assert not owner.is_here({})


def test_a_pid_used_again_is_another_process() -> None:
    assert not owner.is_alive(owner.myself() | {"began": "an earlier boot:17"})


def _is_file_on(machine: str) -> Callable[[Path], bool]:
    exists = Path.exists
    return lambda path: exists(path) and (machine == "linux" or not str(path).startswith("/proc"))


@pytest.mark.parametrize("machine", ["linux", "mac"])
def test_an_ended_process_is_gone(machine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "exists", _is_file_on(machine))
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    him = {"host": owner.myself()["host"], "pid": child.pid, "began": owner._began(child.pid)}
    assert owner.is_alive(him)
    assert him["began"] != "running" or machine == "mac"
    assert child.stdin is not None
    child.stdin.close()
    if machine == "linux":
        # Ended, and not yet waited for: it has a pid, but does nothing any more.
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert not owner.is_alive(him)
    child.wait(10)
    assert not owner.is_alive(him)
