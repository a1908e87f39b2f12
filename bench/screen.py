"""Where progress is shown: a stream with lines that stay and, on a terminal, lines below that change."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Sequence
from typing import TextIO


class Screen:
    """Lines of progress on a stream; where it is a terminal, also lines at its bottom that change in place.

    `NO_COLOR` takes the colour away; `TERM=dumb`, which can't move its cursor, the lines in place too.

    Args:
        stream: Mostly stderr.
        is_quiet: Whether nothing is to be said.
    """

    def __init__(self, stream: TextIO, *, is_quiet: bool = False) -> None:
        self._stream, self._is_quiet = stream, is_quiet
        self._bottom: list[str] = []
        # The heartbeat and the sweep write from two threads.
        self._lock = threading.RLock()
        is_terminal = stream.isatty() and os.environ.get("TERM", "") not in ("", "dumb")
        self.is_live = is_terminal and not is_quiet
        self._is_coloured = self.is_live and not os.environ.get("NO_COLOR")

    def say(self, line: str) -> None:
        """Write a line that stays."""
        if self._is_quiet:
            return
        with self._lock:
            bottom = self._bottom
            self._write(self._erase() + _clean(line) + "\n" + self._draw(bottom))

    def show(self, lines: Sequence[str]) -> None:
        """Replace the lines at the bottom; none ends them."""
        if self.is_live:
            with self._lock:
                self._write(self._erase() + self._draw(lines))

    def _erase(self) -> str:
        num, self._bottom = len(self._bottom), []
        return f"\x1b[{num}A\x1b[J" if num else ""

    def _draw(self, lines: Sequence[str]) -> str:
        self._bottom = list(lines)
        # A line that wraps could not be taken back; outside ASCII a character may be two columns wide.
        width = max(20, shutil.get_terminal_size((100, 24)).columns) - 1
        cut = [_clean(line).encode("ascii", "replace").decode()[:width] for line in lines]
        if self._is_coloured:
            cut = [f"\x1b[36m{line}\x1b[0m" for line in cut]
        return "".join(line + "\n" for line in cut)

    def _write(self, text: str) -> None:
        encoding = self._stream.encoding or "utf-8"
        self._stream.write(text.encode(encoding, "replace").decode(encoding))
        self._stream.flush()


def _clean(line: str) -> str:
    # A name from a file or a command may hold what moves a cursor.
    return "".join(character if character.isprintable() else "?" for character in line)
