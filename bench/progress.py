"""What is seen of a sweep while it runs: a line for what ends, and how far it is, in place or each minute."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import NamedTuple, Self

Say = Callable[[str], None]
# Replaces the lines at the bottom of a terminal.
Show = Callable[[Sequence[str]], None]
HEARTBEAT_S = 60.0
_TICK_S = 1.0
_BAR = 24


class Heard(NamedTuple):
    """What a run under way has told of itself."""

    step: int
    loss: float | None
    # None until it has told twice.
    step_s: float | None
    # Its first message: the step, and when.
    first: tuple[int, float]


class Progress:
    """How far a batch of runs is: beats while nothing ends, and tells the time that is left.

    A context manager: leaving it ends the lines in place.

    Args:
        say: Shows a line that stays.
        show: Replaces the lines at a terminal's bottom; None: there is no terminal, so a line a minute.
        names: Of the runs, in the order they start.
        seconds: What each is thought to take, None where nothing tells.
        num_workers: Runs that train at once.
        steps: Of each run; none where that is not to be shown.
        heartbeat_s: Without a terminal, silence is never longer.
    """

    def __init__(
        self,
        say: Say,
        show: Show | None,
        names: Sequence[str],
        seconds: Sequence[float | None],
        num_workers: int,
        steps: Sequence[int] = (),
        heartbeat_s: float = HEARTBEAT_S,
    ) -> None:
        self._say, self._show = say, show
        self._names, self._num_workers = names, num_workers
        self._steps = steps
        self._heard: dict[int, Heard] = {}
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

    def tell(self, number: int, step: int, loss: float | None) -> None:
        """Take in how far a run under way is; it is shown when the lines are next drawn.

        Args:
            number: Of the run, in the order they start.
            step: Steps it has taken.
            loss: Its newest; None where there is none that is finite.
        """
        now = time.monotonic()
        with self._lock:
            before = self._heard.get(number)
            # A run that goes on from a checkpoint, or begins anew, is timed from there.
            first = before.first if before and before.step < step else (step, now)
            step_s = (now - first[1]) / (step - first[0]) if step > first[0] else None
            self._heard[number] = Heard(step, loss, step_s, first)

    def end(self, number: int, status: str, line: str, *, is_said: bool = True) -> None:
        """Say that a run has ended, and how much time is left.

        Args:
            number: Of the run, in the order they start.
            status: How it ended.
            line: What it gave.
            is_said: Whether the line is shown; the run counts either way.
        """
        with self._lock:
            self._unfinished.pop(number, None)
            self._heard.pop(number, None)
            self._counts[status] += 1
            if is_said:
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
                    self._say("  ".join(lines))

    def _describe(self) -> list[str]:
        waiting = list(self._unfinished)
        # What has told something runs; before that, what was started first does.
        now = [number for number in waiting if number in self._heard] or waiting[: self._num_workers]
        num_beside = min(self._num_workers, len(waiting)) - 1
        beside = f"  and {num_beside} beside it" if num_beside > 0 else ""
        total, left = len(self._names), self._left_s()
        full = round(_BAR * sum(self._counts.values()) / total)
        ends = ", ".join(
            f"{num} {'ok' if status == 'finished' else status}" for status, num in self._counts.items()
        )
        facts = [
            f"{'#' * full}{'.' * (_BAR - full)}",
            *([ends] if ends else []),
            f"{describe_s(time.monotonic() - self._start)} so far",
            "time left unknown"
            if left is None
            else f"{describe_s(left)} left"
            if left
            else "longer than thought",
        ]
        return [f"{self._count()} {self._names[now[0]]}{self._place(now[0])}{beside}", "  ".join(facts)]

    def _place(self, number: int) -> str:
        """Return where a run is: `  step 640/2000  loss 1.043  231 ms/step`."""
        heard = self._heard.get(number)
        if heard is None:
            return ""
        total = f"/{self._steps[number]}" if self._steps else ""
        loss = "" if heard.loss is None else f"  loss {heard.loss:.4g}"
        pace = "" if heard.step_s is None else f"  {1e3 * heard.step_s:.3g} ms/step"
        return f"  step {heard.step}{total}{loss}{pace}"

    def _count(self) -> str:
        return f"[{sum(self._counts.values()):>3}/{len(self._names)}]"

    def _left_s(self) -> float | None:
        """Return the seconds that are left: at this batch's own pace, before its first step the store's."""
        rest = sum(self._weights[number] * self._share_left(number) for number in self._unfinished)
        done = sum(self._weights) - rest
        elapsed = time.monotonic() - self._start
        if done > 0:
            return elapsed / done * rest
        return max(0.0, rest / self._num_workers - elapsed) if self._is_estimated else None

    def _share_left(self, number: int) -> float:
        heard = self._heard.get(number)
        return 1 - heard.step / self._steps[number] if heard and self._steps else 1.0


def describe_s(seconds: float) -> str:
    """Return a time span in words: 8 s, 1 min 12 s, 1 h 52 min."""
    whole = max(1, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
