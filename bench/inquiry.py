"""What is asked of a process that has torch: the sweep's own needs none, and lives whatever answers."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence

import msgspec

from bench import children, errors
from bench.apart import check
from bench.cost import Pace
from bench.errors import BenchError, Unsupported
from bench.messages import Found, Question
from bench.resolve import is_held_here
from bench.slot import Slot
from bench.spec import Data, Run

_TICK_S = 0.2


class Inquiry:
    """Questions to the process of a slot.

    Args:
        slot: No run is in it.
        timeout_s: An answer that takes longer is none; None: it may take what it takes.
        should_stop: Asked while an answer is waited for.
        say: Shows a line.
    """

    def __init__(
        self,
        slot: Slot,
        timeout_s: float | None,
        should_stop: Callable[[], bool],
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._slot = slot
        self._timeout_s = timeout_s
        self._should_stop = should_stop
        self._say = say

    def check(self, runs: Sequence[Run]) -> None:
        """Refuse, before anything runs, what could not start; say what is doubtful about the data.

        Raises:
            BuildError, SpecError, DataError: One of them can't; the line says why.
        """
        # Ours only: code of the user's is for processes that may die of it.
        ours = {
            run.data.target.rpartition(".")[0] for run in runs if run.data.target.startswith("bench.data.")
        }
        children.preload(sorted(ours))
        for run in runs:
            if self._should_stop():
                return
            if is_held_here(run):
                lines = check((run,))
            else:
                # Whose check ends its process is no mistake of the command, but a run that will end so.
                lines = (self._ask(Question(kind="check", runs=(run,))) or "").splitlines()
            for line in lines:
                self._say(line)

    def hash_data(self, data: Data) -> str | None:
        """Return the hash of what a data set holds; None where it can't be had here."""
        return self._ask(Question(kind="sha256", data=data)) or None

    def measure_pace(self, runs: Sequence[Run]) -> Pace | None:
        """Return how fast either engine trains some runs; None where that could not be found out."""
        with contextlib.suppress(BenchError):
            answer = self._ask(Question(kind="pace", runs=tuple(runs)))
            return None if answer is None else msgspec.json.decode(answer, type=Pace)
        return None

    def find_device(self, requested: str) -> Found:
        """Return the device that a request means here, without CUDA in this process.

        Raises:
            Unsupported: There is none of that kind; never a silent fall-back.
        """
        answer = self._ask(Question(kind="device", device=requested))
        if answer is None:
            raise Unsupported(f"device={requested}: the process that was to look for it ended")
        return msgspec.json.decode(answer, type=Found)

    def _ask(self, question: Question) -> str | None:
        """Return what a process answers; None where it ended first, or took longer than a run may.

        Raises:
            BenchError: What it refused, with its line.
        """
        slot = self._slot
        child, start = slot.send(question), time.monotonic()
        while not children.wait([child], _TICK_S):
            is_late = self._timeout_s is not None and time.monotonic() - start > self._timeout_s
            if self._should_stop() or (is_late and child.pid is not None):
                slot.restart()
                return None
        message = slot.receive()
        if message is None:
            slot.restart()
        elif message.kind == "refused":
            kind: type[BenchError] = getattr(errors, message.error, BenchError)
            raise kind(message.text)
        return None if message is None else message.text
