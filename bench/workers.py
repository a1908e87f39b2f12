"""Training many runs side by side: one process a slot, kept between runs, and any of them may die."""

from __future__ import annotations

import math
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from bench import children
from bench.apart import train_job
from bench.blame import Blame
from bench.inquiry import Inquiry
from bench.messages import Charge, Job
from bench.resolve import is_held_here
from bench.result import Machine
from bench.slot import GRACE_S, End, Slot
from bench.spec import Run

# Called with a job's number, the steps it has taken, and its newest loss.
Tell = Callable[[int, int, float | None], None]
# A run that was asked to stop ends after its step; so long it may take before its process is killed.
STOP_S = 30.0
_TICK_S = 0.2


class Workers:
    """Trains runs, each in a process of its own slot: whatever becomes of that is one end among others.

    What the running program alone holds (`bench.compare`) can't leave it and trains here. A run's numbers are
    the same wherever it trains. A context manager: leaving it ends the processes.

    Args:
        devices: One entry a slot: the CUDA device that its process sees, or None for what this one sees.
        timeout_s: A run that takes longer is ended; None: it may take what it takes.
        should_stop: Asked while anything is waited for; runs under way then end after their step.
        say: Shows a line.
        tell: Called with what a run tells of itself on its way.
    """

    def __init__(
        self,
        devices: Sequence[str | None] = (None,),
        *,
        timeout_s: float | None = None,
        should_stop: Callable[[], bool] = lambda: False,
        say: Callable[[str], None] = lambda _: None,
        tell: Tell = lambda number, step, loss: None,
    ) -> None:
        self.tell = tell
        self._timeout_s = timeout_s
        self._should_stop = should_stop
        self._say = say
        self._folder = tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True)
        self._slots = [
            Slot(device, Path(self._folder.name, f"{number}.log")) for number, device in enumerate(devices)
        ]
        self._blame = Blame(devices, say)
        self._here: list[End] = []
        self._stop_at: float | None = None

    @property
    def num(self) -> int:
        """Runs that may train at once."""
        return len(self._slots)

    @property
    def is_free(self) -> bool:
        """Whether a run may be started now."""
        return bool(self._free())

    @property
    def is_busy(self) -> bool:
        """Whether runs train, or have ended and were not yet given out."""
        return bool(self._here) or any(slot.job is not None for slot in self._slots)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.rest()
        for slot in self._slots:
            slot.restart()
        self._folder.cleanup()

    def rest(self) -> None:
        """End the processes that are idle: they hold on to memory, of a GPU too."""
        for slot in self._slots:
            if slot.job is None and slot.child is not None:
                slot.child.stop(GRACE_S)
                slot.restart()

    @property
    def num_free(self) -> int:
        """Jobs that may be started now."""
        return len(self._free())

    def start(
        self,
        numbers: Sequence[int],
        runs: Sequence[Run],
        machine: Machine,
        folders: Sequence[Path | None],
        every_s: float = math.inf,
        *,
        is_population: bool = False,
    ) -> None:
        """Start a run, or several as one population, in a free slot.

        Args:
            numbers: What the end of each is called by.
            runs: What to train.
            machine: Recorded beside the numbers.
            folders: Where the state of each is saved, and found again; None: it is not.
            every_s: Seconds between two saves, at the least.
            is_population: Whether they train together; one by one else, which only one does.
        """
        slot = self._free()[0]
        charges = tuple(
            Charge(run=run, folder=None if folder is None else str(folder))
            for run, folder in zip(runs, folders, strict=True)
        )
        job = Job(charges=charges, is_population=is_population, machine=machine, every_s=every_s)
        if any(is_held_here(run) for run in runs):
            told = train_job(
                job, self._should_stop, lambda place, step, loss: self.tell(numbers[place], step, loss)
            )
            for message in told:
                assert message.result is not None
                self._here.append(End(numbers[message.place], message.result, message.files))
            return
        slot.start(numbers, job)

    def wait(self, timeout: float) -> list[End]:
        """Return what has ended, as soon as something has; nothing after so many seconds."""
        deadline = time.monotonic() + timeout
        while True:
            ends, self._here = self._here, []
            busy = {slot.child: slot for slot in self._slots if slot.job is not None and slot.child}
            left = 0.0 if ends else deadline - time.monotonic()
            for child in children.wait(busy, max(0.0, min(left, _TICK_S))):
                for end in self._hear(busy[child]):
                    self._blame.note(busy[child].device, end.result)
                    ends.append(end)
            self._watch()
            if ends or left <= 0 or not busy:
                return ends

    def train(self, jobs: Sequence[tuple[Run, Machine]]) -> Iterator[End]:
        """Yield what comes of some runs, in the order they end."""
        waiting = list(enumerate(jobs))
        while waiting or self.is_busy:
            while waiting and self.is_free:
                number, (run, machine) = waiting.pop(0)
                self.start([number], [run], machine, [None])
            yield from self.wait(_TICK_S)

    @property
    def inquiry(self) -> Inquiry:
        """What can be asked of a process, while a slot is free."""
        return Inquiry(self._free()[0], self._timeout_s, self._should_stop, self._say)

    def _free(self) -> list[Slot]:
        return [
            slot for slot in self._slots if slot.job is None and slot.device not in self._blame.left_alone
        ]

    def _hear(self, slot: Slot) -> list[End]:
        """Take in all that a process has told; return how runs ended, if any did."""
        assert slot.child is not None
        ends: list[End] = []
        while True:
            message = slot.receive()
            if message is None:
                return ends + slot.conclude()
            if message.kind == "begin":
                slot.began = time.monotonic()
            if message.kind == "progress":
                slot.steps[message.place] = message.step
                self.tell(slot.numbers[message.place], message.step, message.loss)
            if message.kind == "end":
                assert message.result is not None
                ends.append(slot.end(message.place, message.result, message.files))
                if slot.job is None:
                    return ends
            if not (slot.child.is_over or slot.child.connection.poll()):
                return ends

    def _watch(self) -> None:
        """End what takes too long, and what was asked to stop and does not."""
        now = time.monotonic()
        if self._stop_at is None and self._should_stop():
            self._stop_at = now
        for slot in self._slots:
            if slot.job is None or slot.child is None:
                continue
            if self._stop_at is not None:
                # More than once: a process that has only begun does not hear it.
                slot.child.send_signal(signal.SIGTERM)
                if now - self._stop_at > STOP_S:
                    slot.doom("interrupted", f"it did not end within {STOP_S:g} s of being asked to")
            elif self._timeout_s is not None and slot.began is not None:
                # A population may take what its runs would take one after the other.
                limit_s = self._timeout_s * len(slot.job.charges)
                if now - slot.began > limit_s:
                    step = max(slot.steps.values(), default=0)
                    limit = f"place.timeout_s={self._timeout_s:g}"
                    slot.doom(
                        "timeout", f"it took longer than {limit}; the last that was heard of is step {step}"
                    )
