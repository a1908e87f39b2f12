"""The sweep's side of the server: what it is asked for, and each process that it forked."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from multiprocessing import connection as connections
from multiprocessing.connection import Connection
from typing import IO

import msgspec

from bench.server import Begin

# A server whose connection is gone is about to end.
_LAST_WORDS_S = 2.0


class Child:
    """A process that was forked from the server.

    Attributes:
        connection: To the process; a function of ours at its other end answers what is sent.
        pid: Also the number of its group; None until the server has forked it.
        code: Exit code, minus the number of the signal that ended it; None while it runs.
        is_lost: The server died, so nobody knows how this one ended, or whether it has.
    """

    def __init__(self, connection: Connection, server: Server) -> None:
        self.connection = connection
        self._server = server
        self.pid: int | None = None
        self.code: int | None = None
        self.is_lost = False

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to come from it but what is in the connection."""
        return self.code is not None or self.is_lost

    def receive(self) -> bytes | None:
        """Return the next message, waiting for it while the process lives; None: there is none any more."""
        try:
            if self.is_over and not self.connection.poll():
                return None
            return self.connection.recv_bytes()
        except (EOFError, OSError):
            return None

    def send_signal(self, number: int) -> None:
        """Send a signal to the process alone."""
        if self.pid is not None and not self.is_over:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """End the process and all that it started, whatever they are doing."""
        # One that is not even forked finds nobody there, and ends.
        self.connection.close()
        self.end_group()
        if self.pid is not None:
            self.join(None)

    def end_group(self) -> None:
        """Send the signal that nothing survives to the process and all that it started."""
        if self.pid is not None and self.code is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)

    def stop(self, grace_s: float) -> None:
        """Let an idle process end; after so many seconds it is killed."""
        with contextlib.suppress(OSError):
            self.connection.send_bytes(b"")
        self.join(grace_s)
        self.kill()

    def join(self, timeout: float | None) -> bool:
        """Wait until it has ended; return whether it has."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self.is_over:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not connections.wait([self._server.control], left):
                return False
            self._server.read()
        return True


class Server:
    """This process's side of the server.

    Args:
        control: The server is asked here, and tells here what it forked and how that ended.
        pid: Of the server.
        process: None where the server is a fork of this process.
        complaint: Takes what it writes to stderr.
    """

    def __init__(
        self,
        control: socket.socket,
        pid: int,
        process: subprocess.Popen[bytes] | None = None,
        complaint: IO[bytes] | None = None,
    ) -> None:
        self.control = control
        self.pid = pid
        self.is_lost = False
        # Why it could not start, if that was its own doing.
        self.refusal: str | None = None
        self._process = process
        self._owner = os.getpid()
        self._asked: list[Child] = []
        self._children: dict[int, Child] = {}
        self._rest = b""
        # What it wrote, should it not even start.
        self._complaint = complaint
        self._has_forked = False

    def fork(self, function: str, environment: Mapping[str, str]) -> Child:
        mine, theirs = multiprocessing.Pipe()
        child = Child(mine, self)
        begin = Begin(function, os.getcwd(), sys.path, dict(os.environ) | dict(environment))
        try:
            socket.send_fds(self.control, [b"f"], [theirs.fileno()])
            self._asked.append(child)
            mine.send_bytes(msgspec.json.encode(begin))
        except OSError:
            self._lose()
            child.is_lost = True
        theirs.close()
        return child

    def preload(self, name: str) -> None:
        with contextlib.suppress(OSError):
            self.control.sendall(b"i%s\n" % name.encode())

    def read(self) -> None:
        """Take in what the server has told; there must be something."""
        try:
            received = self.control.recv(65536)
        except OSError:
            received = b""
        if not received:
            self._lose()
        *lines, self._rest = (self._rest + received).split(b"\n")
        for line in lines:
            pid, _, code = line.partition(b" ")
            if code:
                self._children.pop(int(pid)).code = int(code)
            else:
                self._has_forked = True
                child = self._children[int(pid)] = self._asked.pop(0)
                child.pid = int(pid)

    def end(self) -> None:
        """End the server and what it forked; nothing in a process that only inherited it."""
        if self._owner == os.getpid() and not self.is_lost:
            for child in list(self._children.values()):
                child.kill()
            self._lose(0.0)

    def end_at_once(self) -> None:
        """Kill what was forked, and the server; the next thing that happens is the end of this process."""
        for child in self._children.values():
            child.end_group()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def _lose(self, grace_s: float = _LAST_WORDS_S) -> None:
        self.is_lost = True
        for child in (*self._asked, *self._children.values()):
            child.is_lost = True
        self.control.close()
        # One that ends by itself says why by its exit code; one that does not may still be importing.
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(grace_s)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            if self._process is None:
                os.waitpid(self.pid, 0)
            elif self._process.wait() > 0 and not self._has_forked:
                self.refusal = "it said nothing"
        if self._complaint is not None and not self._complaint.closed:
            with self._complaint as file:
                file.seek(0)
                if self.refusal and (lines := file.readlines()):
                    self.refusal = lines[-1].decode(errors="replace").strip()
