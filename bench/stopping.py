"""Whether a sweep was asked to stop: handlers set a flag, and whoever waits looks at it."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

from bench import children

# Ctrl-C, and what batch systems send before they end a job.
_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR2") if hasattr(signal, name))
# The same signal again so soon is the same wish, sent to the process and to its group.
_ECHO_S = 0.3


class Stopped(Exception):
    """What was under way has ended early, as it was asked to."""


class Stop:
    """What a sweep was asked; callable, as those that wait want it.

    Attributes:
        signal: The first signal that came; None: none has.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._at = 0.0

    def __call__(self) -> bool:
        """Return whether to stop."""
        return self.signal is not None

    def check(self) -> None:
        """Raise `Stopped` if this was asked to stop."""
        if self():
            raise Stopped

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Note a signal; the second one ends this process and all that it started, at once."""
        if self.signal is None:
            self.signal, self._at = number, time.monotonic()
        elif time.monotonic() - self._at > _ECHO_S:
            children.end_all()
            os._exit(128 + number)


@contextlib.contextmanager
def watch() -> Iterator[Stop]:
    """Have signals noted instead of ending this process; only its main thread can."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, stop.handle) for number in _SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            # None: it was installed by something other than Python.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
