"""A full disk holds a sweep up and ends nothing: what came of a run is kept until there is room for it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from bench.errors import FullError
from bench.result import Result
from bench.slot import End
from bench.stopping import Stopped
from bench.store import Store

T = TypeVar("T")

# Between two looks whether there is room by now.
LOOK_S = 5.0
_TICK_S = 0.2


class Room:
    """Whether there is room for what a sweep writes; where there is none, it says so once and looks again.

    Args:
        root: Folder of the store.
        should_stop: Asked while it waits.
        say: Shows a line.
    """

    def __init__(self, root: Path, should_stop: Callable[[], bool], say: Callable[[str], None]) -> None:
        self._root = root
        self._should_stop = should_stop
        self._say = say
        self._is_told = False
        self._look_at = 0.0

    @property
    def is_waiting(self) -> bool:
        """Whether nothing is to be written before the next look."""
        return time.monotonic() < self._look_at and not self._should_stop()

    def run_out(self) -> None:
        """Note that something found no room."""
        self._look_at = time.monotonic() + LOOK_S
        if not self._is_told:
            self._is_told = True
            self._say(
                f"waiting for room on the disk: {self._root} has {self._count_free()} free; "
                "Ctrl-C leaves, the same command resumes"
            )

    def go_on(self) -> None:
        """Note that there was room for something."""
        if self._is_told:
            self._is_told, self._look_at = False, 0.0
            self._say(f"there is room again, {self._count_free()}: going on")

    def keep(self, attempt: Callable[[], T]) -> T:
        """Return what an attempt to write gives, made again until there is room.

        Raises:
            Stopped: The sweep was asked to stop meanwhile.
        """
        while True:
            try:
                value = attempt()
            except FullError:
                self.run_out()
                while self.is_waiting:
                    time.sleep(_TICK_S)
                if self._should_stop():
                    raise Stopped from None
            else:
                self.go_on()
                return value

    def _count_free(self) -> str:
        try:
            return f"{shutil.disk_usage(self._root).free / 1e6:.1f} MB"
        except OSError:
            return "an unknown number of bytes"


class Outbox:
    """Publishes what runs came to, in the order they ended; what finds no room stays here meanwhile.

    Args:
        store: Where it goes.
        room: Tells whether to try.
        should_stop: Once it says yes, what finds no room is given up: its run trains again another time.
        say: Shows a line.
    """

    def __init__(
        self, store: Store, room: Room, should_stop: Callable[[], bool], say: Callable[[str], None]
    ) -> None:
        self._store = store
        self._room = room
        self._should_stop = should_stop
        self._say = say
        self._ends: list[End] = []

    def __bool__(self) -> bool:
        return bool(self._ends)

    def add(self, ends: Sequence[End]) -> None:
        """Take what runs came to."""
        self._ends += ends

    def send(self) -> Iterator[tuple[int, Result]]:
        """Yield the number of each run whose end could be published, and what holds of it."""
        while self._ends and not self._room.is_waiting:
            number, result, files, _ = self._ends[0]
            try:
                published = self._store.publish(result, files)
            except FullError as error:
                if not self._should_stop():
                    self._room.run_out()
                    return
                self._say(f"not kept: {error}")
                published = result
            else:
                self._room.go_on()
            del self._ends[0]
            yield number, published
