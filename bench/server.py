"""The server that a sweep's processes are forked from: it imports torch once, and never uses it."""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import select
import signal
import socket
import sys
import threading
import traceback
from multiprocessing.connection import Connection

import msgspec

# What any process of ours imports: a fork of one that has it starts in a twentieth of a second.
PRELOADED = ("bench.apart", "bench.train", "bench.meter.step", "torch._dynamo")
# A sweep's own process decides what becomes of the others, also where a signal reaches all of them.
_LEFT_TO_PARENT = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


class Begin(msgspec.Struct):
    """What the server could not know when it started, as the first message to a new process."""

    function: str
    folder: str
    path: list[str]
    environment: dict[str, str]


def serve(descriptor: int) -> None:
    """Be the server: fork whenever a connection comes in, until whoever asks is gone."""
    for number in _LEFT_TO_PARENT:
        signal.signal(number, signal.SIG_IGN)
    control = socket.socket(fileno=descriptor)
    for name in PRELOADED:
        importlib.import_module(name)
    _settle()
    # What it said until here is why it could not start; its processes say what they say elsewhere.
    os.dup2(1, 2)
    woken, wake = os.pipe()
    os.set_blocking(woken, False)
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake)
    living: set[int] = set()
    with contextlib.suppress(OSError):
        while True:
            ready = select.select([control.fileno(), woken], [], [])[0]
            if woken in ready:
                os.read(woken, 65536)
                _reap(living, control)
            if control.fileno() in ready:
                asked, descriptors, _, _ = socket.recv_fds(control, 1, 1)
                if not asked:
                    break
                if asked == b"i":
                    _import(control)
                    continue
                pid = os.fork()
                if pid == 0:
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    control.close()
                    os.close(woken)
                    os.close(wake)
                    _run(descriptors[0])
                with contextlib.suppress(OSError):
                    os.setpgid(pid, pid)
                os.close(descriptors[0])
                living.add(pid)
                control.sendall(b"%d\n" % pid)
    for pid in living:
        _kill_group(pid)
    os._exit(0)


def _import(control: socket.socket) -> None:
    """Import a module of ours whose name comes in, so that no process has to."""
    name = b""
    while not name.endswith(b"\n"):
        name += control.recv(1)
    # Who needs it finds out what is wrong with it.
    with contextlib.suppress(Exception):
        importlib.import_module(name.decode().strip())
    _settle()


def _settle() -> None:
    """Keep what is there from the garbage collector: a fork would look through it, and so copy its pages."""
    gc.freeze()


def _reap(living: set[int], control: socket.socket) -> None:
    while living:
        # Its group first: as long as it is not reaped, nobody else has its number.
        if hasattr(os, "waitid"):
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if found is None:
                return
            _kill_group(found.si_pid)
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        if pid in living:
            living.remove(pid)
            control.sendall(b"%d %d\n" % (pid, os.waitstatus_to_exitcode(status)))


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _run(descriptor: int) -> None:
    """Be a process: call the function that is asked for, and end."""
    code = 1
    try:
        os.setpgid(0, 0)
        connection = Connection(descriptor)
        begin = msgspec.json.decode(connection.recv_bytes(), type=Begin)
        with contextlib.suppress(OSError):
            os.chdir(begin.folder)
        os.environ.clear()
        os.environ.update(begin.environment)
        sys.path[:] = begin.path
        threading.Thread(target=_follow, args=(descriptor,), daemon=True).start()
        module, _, name = begin.function.partition(":")
        getattr(importlib.import_module(module), name)(connection)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _follow(descriptor: int) -> None:
    """End with whoever is at the connection's other end, however that ended."""
    hung_up = select.poll()
    hung_up.register(descriptor, 0)
    hung_up.poll()
    os.killpg(0, signal.SIGKILL)
