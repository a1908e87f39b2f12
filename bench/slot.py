"""One place that runs train in, one after the other: its process, its device, its log."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from bench import children
from bench.cause import count_memory_kills, explain_exit
from bench.errors import SpecError
from bench.forked import Child
from bench.messages import Job, Message, Question
from bench.place import Place
from bench.result import SETTLED, Result, Status
from bench.tally import Tally

# An idle process ends by itself; one that does not is killed after so long.
GRACE_S = 5.0
# Beside a run that settled nothing: the end of what its process wrote.
LOG = "log.txt"
LOG_BYTES = 64 * 1024
# A process goes on with the next run after these ends; any other may have left something behind.
_HARMLESS = SETTLED | {"unsupported"}


class End(NamedTuple):
    """What came of one run."""

    number: int
    result: Result
    # To keep beside it, by name.
    files: dict[str, bytes]
    # Whether its process ended with others of the same population in it, one of which may be to blame.
    is_shared: bool = False


class Slot:
    """A place that one job trains in at a time: a run, or a population.

    Args:
        device: The CUDA device that its process sees; None: those that this one sees.
        log: File for what its process writes.
    """

    def __init__(self, device: str | None, log: Path) -> None:
        self.device = device
        self.child: Child | None = None
        self.job: Job | None = None
        # Of the job's runs that have not ended: place in the job -> what its end is called by.
        self.numbers: dict[int, int] = {}
        # When the process began with the run, by the clock that timeouts go by; None: it has not yet.
        self.began: float | None = None
        # The last that was heard of each, by place.
        self.steps: dict[int, int] = {}
        self._log = log
        # Why its process was ended, where that was our doing.
        self._verdict: tuple[Status, str] | None = None
        self._num_memory_kills = 0
        # Whether the ends so far left nothing behind in the process.
        self._is_in_order = True

    def start(self, numbers: Sequence[int], job: Job) -> None:
        """Begin with a job; numbers are what the ends of its runs are called by."""
        self._log.unlink(missing_ok=True)
        job = msgspec.structs.replace(job, log=str(self._log))
        self.numbers, self.job, self.began, self.steps = dict(enumerate(numbers)), job, None, {}
        self._verdict, self._num_memory_kills = None, count_memory_kills()
        self.send(job)

    def send(self, asked: Job | Question) -> Child:
        """Send something to the process, which is forked if need be; nothing waits."""
        if self.child is None or self.child.is_over:
            environment = {} if self.device is None else {"CUDA_VISIBLE_DEVICES": self.device}
            self.child = children.fork("bench.apart:serve", environment)
        # Should it be gone by now, that shows when it is read from.
        with contextlib.suppress(OSError):
            self.child.connection.send_bytes(msgspec.msgpack.encode(asked))
        return self.child

    def receive(self) -> Message | None:
        """Return what the process tells next; None: it has ended."""
        assert self.child is not None
        content = self.child.receive()
        return None if content is None else msgspec.msgpack.decode(content, type=Message)

    def doom(self, status: Status, detail: str) -> None:
        """End the process in the middle of its run, which then ended so."""
        assert self.child is not None
        if self._verdict is None:
            self._verdict = status, detail
            self.child.end_group()

    def conclude(self) -> list[End]:
        """Return the ends of runs whose process is no more."""
        assert self.child is not None and self.job is not None
        if not self.child.join(GRACE_S):
            # It closed its connection and goes on: nothing of it will be heard.
            self.child.end_group()
        is_memory_killed = count_memory_kills() > self._num_memory_kills
        log = self._read_log().decode(errors="replace")
        verdict = self._verdict
        status, detail = verdict or explain_exit(self.child.code, log, is_memory_killed=is_memory_killed)
        # Where one of several takes too long, the others may be all right.
        is_shared = (verdict is None or status == "timeout") and len(self.numbers) > 1
        engine = "population" if self.job.is_population else "eager"
        ends = []
        for place in list(self.numbers):
            result = Tally().conclude(
                self.job.charges[place].run, status, detail, self.job.machine, engine=engine
            )
            result = msgspec.structs.replace(result, num_steps=self.steps.get(place, 0))
            ends.append(self.end(place, result, {})._replace(is_shared=is_shared))
        return ends

    def end(self, place: int, result: Result, files: dict[str, bytes]) -> End:
        """Take in a run's end; the process goes on only if all of them left it in order."""
        if result.status not in SETTLED and (log := self._read_log()):
            files = files | {LOG: log}
            result = msgspec.structs.replace(result, artifacts=(*result.artifacts, LOG))
        self._is_in_order = self._is_in_order and result.status in _HARMLESS
        number = self.numbers.pop(place)
        if not self.numbers:
            self.job = None
            if not self._is_in_order:
                self.restart()
            self._is_in_order = True
        return End(number, result, files)

    def restart(self) -> None:
        """End the process and all that it started; what comes next has a new one."""
        if self.child is not None:
            self.child.kill()
            self.child = None

    def _read_log(self) -> bytes:
        try:
            with self._log.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - LOG_BYTES))
                return file.read()
        except OSError:
            return b""


def list_slots(place: Place, device: str, threads: int, num_devices: int = 0) -> list[str | None]:
    """Return the device of each slot: as many entries as runs train at once.

    Args:
        place: What is asked: `workers`, `devices`, `per_device`.
        device: Device kind of the runs.
        threads: CPU threads of each run.
        num_devices: CUDA devices that this process may use.
    """
    names = _list_devices(place.devices, num_devices) if device == "cuda" else []
    slots: list[str | None] = [name for name in names for _ in range(place.per_device)]
    if place.workers != "auto":
        return [slots[number % len(slots)] if slots else None for number in range(place.workers)]
    if slots or device != "cpu":
        return slots or [None]
    # Not every system says which cores this process may use.
    affinity = getattr(os, "sched_getaffinity", None)
    return [None] * max(1, (len(affinity(0)) if affinity else os.cpu_count() or 1) // threads)


def _list_devices(devices: Sequence[int] | Literal["auto"], num: int) -> list[str]:
    """Return the devices as CUDA_VISIBLE_DEVICES names them.

    Raises:
        SpecError: There is none of such an index.
    """
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    # What stands behind an entry that is no device is not seen either.
    visible = [str(number) for number in range(num)] if listed is None else listed.split(",")[:num]
    for number in devices if devices != "auto" else ():
        if number >= len(visible):
            raise SpecError(f"place.devices: wants indices below {len(visible)}, got {number}")
    return [visible[number].strip() for number in (range(len(visible)) if devices == "auto" else devices)]
