"""The processes that a sweep starts: forked from one warm server, in groups of their own, gone when it is."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from multiprocessing import connection as connections

from bench.errors import BenchError
from bench.forked import Child, Server
from bench.server import serve

_SERVE = """
import json, sys
sys.path[:] = json.loads(sys.argv[2])
from bench.server import serve
serve(int(sys.argv[1]))
"""


_server: Server | None = None


def start() -> None:
    """Begin to start the server, which imports torch meanwhile; nothing waits. There is one for all."""
    global _server
    if _server is not None:
        if not _server.is_lost:
            return
        if _server.refusal is not None:
            raise BenchError(f"no process can be started that trains: {_server.refusal}")
    # Should an import in the server look for a GPU: torch's other way would keep forks from using it.
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    ours, theirs = socket.socketpair()
    # Closed by what reads it, when the server is gone.
    complaint = tempfile.TemporaryFile()  # noqa: SIM115
    # It speaks through the socket alone, and a signal to this process's group is none of its business.
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVE, str(theirs.fileno()), json.dumps(sys.path)],
        pass_fds=[theirs.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=complaint,
        process_group=0,
    )
    theirs.close()
    _server = Server(ours, process.pid, process, complaint)
    atexit.register(_server.end)


def start_here() -> None:
    """Make the server a fork of this process, which has imported what it needs and has used none of it."""
    global _server
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            os.setpgid(0, 0)
            ours.close()
            for number in range(3):
                os.dup2(os.open(os.devnull, os.O_RDWR), number)
            serve(theirs.detach())
        os._exit(1)
    theirs.close()
    _server = Server(ours, pid)
    atexit.register(_server.end)


def fork(function: str, environment: Mapping[str, str] | None = None) -> Child:
    """Return a process that calls a function with its end of the connection; nothing waits for it.

    Args:
        function: `module:name`. It returns when it receives an empty message, and answers any other.
        environment: Variables that it has beside those of this process.
    """
    return _running().fork(function, environment or {})


def preload(modules: Iterable[str]) -> None:
    """Have the server import modules of ours, which its processes then need not; nothing waits."""
    for name in modules:
        _running().preload(name)


def wait(children: Iterable[Child], timeout: float | None) -> list[Child]:
    """Wait until some have sent something or ended, and return those; none once the seconds are over."""
    children = list(children)
    open_ones = {child.connection: child for child in children if not child.connection.closed}
    if not any(child.is_over for child in children):
        control = _running().control
        ready = connections.wait([*open_ones, control], timeout)
        if control in ready:
            _running().read()
    else:
        ready = connections.wait([*open_ones], 0)
    return [child for child in children if child.is_over or child.connection in ready]


def _running() -> Server:
    start()
    assert _server is not None
    return _server


def end_all() -> None:
    """End the server and all that it forked, without a word."""
    if _server is not None:
        _server.end_at_once()
