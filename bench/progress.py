"""What is seen of a sweep while it runs: lines that stay, and how far it is, in place or once a minute."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self, TextIO

Say = Callable[[str], None]
# Replaces the lines at the bottom of a terminal.
Show = Callable[[Sequence[str]], None]
HEARTBEAT_S = 60.0
_TICK_S = 1.0
_BAR = 24


class Screen:
    """Lines of progress on a stream; where it is a terminal, also lines at its bottom that change in place.

    `NO_COLOR` takes the colour away; `TERM=dumb`, which can't move its cursor, the lines in place too.

    Args:
        stream: Mostly stderr.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._bottom: list[str] = []
        # The heartbeat and the sweep write from two threads.
        self._lock = threading.RLock()
        self.is_live = stream.isatty() and os.environ.get("TERM", "") not in ("", "dumb")
        self._is_coloured = self.is_live and not os.environ.get("NO_COLOR")

    def say(self, line: str) -> None:
        """Write a line that stays."""
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


class Progress:
    """How far a batch of runs is: beats while nothing ends, and tells the time that is left.

    A context manager: leaving it ends the lines in place.

    Args:
        say: Shows a line that stays.
        show: Replaces the lines at a terminal's bottom; None: there is no terminal, so a line a minute.
        names: Of the runs, in the order they start.
        seconds: What each is thought to take, None where nothing tells.
        num_workers: Runs that train at once.
        heartbeat_s: Without a terminal, silence is never longer.
    """

    def __init__(
        self,
        say: Say,
        show: Show | None,
        names: Sequence[str],
        seconds: Sequence[float | None],
        num_workers: int,
        heartbeat_s: float = HEARTBEAT_S,
    ) -> None:
        self._say, self._show = say, show
        self._names, self._num_workers = names, num_workers
        # What nothing tells is taken for an average one.
        known = [each for each in seconds if each]
        average = sum(known) / len(known) if known else 1.0
        self._weights = [each or average for each in seconds]
        self._is_estimated = bool(known)
        self._unfinished = dict.fromkeys(range(len(names)))
        self._counts: Counter[str] = Counter()
        self._start = self._last = time.monotonic()
        self._period = heartbeat_s if show is None else _TICK_S
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Self:
        if self._show is not None and self._names:
            self._show(self._describe())
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        if self._show is not None:
            self._show(())

    def end(self, number: int, status: str, line: str) -> None:
        """Say that a run has ended, and how much time is left.

        Args:
            number: Of the run, in the order they start.
            status: How it ended.
            line: What it gave.
        """
        with self._lock:
            self._unfinished.pop(number, None)
            self._counts[status] += 1
            self._last = time.monotonic()
            left = self._left_s()
            rest = f"  {describe_s(left)} left" if left else ""
            self._say(f"{self._count()} {line}{rest}")
            if self._show is not None:
                self._show(self._describe() if self._unfinished else ())

    def _beat(self) -> None:
        # Looks more often than it speaks: a minute without a line, not a minute of the clock.
        while not self._stop.wait(min(self._period, _TICK_S)):
            with self._lock:
                if not self._unfinished or time.monotonic() - self._last < self._period:
                    continue
                self._last = time.monotonic()
                lines = self._describe()
                if self._show is not None:
                    self._show(lines)
                else:
                    self._say("  ".join(reversed(lines)))

    def _describe(self) -> list[str]:
        now = list(self._unfinished)[: self._num_workers]
        beside = f" and {len(now) - 1} beside it" if len(now) > 1 else ""
        total, left = len(self._names), self._left_s()
        full = round(_BAR * sum(self._counts.values()) / total)
        ends = ", ".join(
            f"{num} {'ok' if status == 'finished' else status}" for status, num in self._counts.items()
        )
        facts = [
            f"{self._count()} {'#' * full}{'.' * (_BAR - full)}",
            *([ends] if ends else []),
            f"{describe_s(time.monotonic() - self._start)} so far",
            "time left unknown"
            if left is None
            else f"{describe_s(left)} left"
            if left
            else "longer than thought",
        ]
        return [f"now  {self._names[now[0]]}{beside}", "  ".join(facts)]

    def _count(self) -> str:
        return f"[{sum(self._counts.values()):>3}/{len(self._names)}]"

    def _left_s(self) -> float | None:
        """Return the seconds that are left: at this batch's own pace, before its first run at the store's."""
        rest = sum(self._weights[number] for number in tuple(self._unfinished))
        done = sum(self._weights) - rest
        elapsed = time.monotonic() - self._start
        if self._counts and done > 0:
            return elapsed / done * rest
        return max(0.0, rest / self._num_workers - elapsed) if self._is_estimated else None


def describe_s(seconds: float) -> str:
    """Return a time span in words: 8 s, 1 min 12 s, 1 h 52 min."""
    whole = max(1, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _clean(line: str) -> str:
    # A name from a file or a command may hold what moves a cursor.
    return "".join(character if character.isprintable() else "?" for character in line)
