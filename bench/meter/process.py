"""The meter in a process of its own: nothing of the sweep is in its way, and nothing of it in the sweep's."""

from __future__ import annotations

import gc
import importlib
import time
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection

import msgspec

from bench import children
from bench.cause import explain_exit
from bench.kinds import Record
from bench.meter.outcome import conclude
from bench.resolve import is_held_here
from bench.result import Cost, Machine, Status
from bench.spec import Metering

# Whatever is asked, as JSON, and its answer.
Answer = Callable[[bytes], bytes]
_GRACE_S = 5.0
_TICK_S = 0.2
# What is measured for so many seconds is warmed up, and measured in other ways, for some times as long.
_STEADY = 10


class Ended(Exception):
    """A process ended before it answered."""

    def __init__(self, status: Status, detail: str) -> None:
        super().__init__(detail)
        self.status = status


class Apart:
    """A function that answers in a process of its own, one question after the other.

    The process is forked from a server that has imported torch and never touches a GPU. It ends with this
    one, however that ends.

    Args:
        answer: A function of a module, so that the other process finds it.
        should_stop: Asked while an answer is waited for.
    """

    def __init__(self, answer: Answer, should_stop: Callable[[], bool] = lambda: False) -> None:
        self._child = children.fork("bench.meter.process:serve")
        self._should_stop = should_stop
        self._child.connection.send_bytes(f"{answer.__module__}:{answer.__qualname__}".encode())
        self._is_busy = False

    def ask(self, question: bytes, timeout_s: float | None = None) -> bytes:
        """Return the answer to a question.

        Raises:
            Ended: The process is no more, or was asked to stop, or takes longer than these seconds.
        """
        self._is_busy, start = True, time.monotonic()
        try:
            self._child.connection.send_bytes(question)
            while not children.wait([self._child], _TICK_S):
                if self._should_stop():
                    raise Ended("interrupted", "it was asked to stop")
                if timeout_s is not None and time.monotonic() - start > timeout_s:
                    raise Ended("timeout", f"it took longer than {timeout_s:g} s")
            if (answer := self._child.receive()) is not None:
                self._is_busy = False
                return answer
        except OSError:
            pass
        self._child.join(_GRACE_S)
        raise Ended(*explain_exit(self._child.code, ""))

    def stop(self) -> None:
        """End the process, whatever it is doing."""
        if self._is_busy:
            self._child.kill()
        else:
            self._child.stop(_GRACE_S)


class _Job(Record, frozen=True, kw_only=True):
    metering: Metering
    machine: Machine


def measure_all(
    jobs: Iterable[tuple[Metering, Machine]],
    *,
    timeout_s: float | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[Cost]:
    """Yield what each cell's step costs, in order, each measured by itself in a process that is not this one.

    On a CPU cells share a process while all goes well; on anything else each has a fresh one, as an
    allocator's history is part of its figures. A cell that ends its process has a status that says how.
    Models and data that only this program holds can't leave it: they are measured here, and noted.

    Args:
        jobs: Cells, and the machine to record beside their numbers.
        timeout_s: What a cell may take beyond the time it is measured for.
        should_stop: Asked while one is waited for, and before each; the rest is then left out.
    """
    apart: Apart | None = None
    try:
        for metering, machine in jobs:
            if should_stop():
                return
            if is_held_here(metering.run):
                from bench.meter.step import measure

                cost = measure(metering, machine)
                note = "process: measured in the sweep's own, which alone holds this model and data"
                yield msgspec.structs.replace(cost, notes=(*cost.notes, note))
                continue
            apart = apart or Apart(_answer, should_stop)
            limit = None if timeout_s is None else timeout_s + _STEADY * metering.meter.seconds
            try:
                answer = apart.ask(msgspec.json.encode(_Job(metering=metering, machine=machine)), limit)
                cost = msgspec.json.decode(answer, type=Cost)
            except Ended as error:
                cost = conclude(metering, machine, error.status, str(error), {})
            if cost.status not in ("finished", "failed", "unsupported") or metering.run.device != "cpu":
                apart.stop()
                apart = None
            yield cost
    finally:
        if apart is not None:
            apart.stop()


def serve(connection: Connection) -> None:
    """Answer what comes in with the function that the first message names, until an empty one does."""
    module, _, name = connection.recv_bytes().decode().partition(":")
    answer: Answer = getattr(importlib.import_module(module), name)
    while question := connection.recv_bytes():
        connection.send_bytes(answer(question))


def _answer(question: bytes) -> bytes:
    from bench.meter.step import measure

    # What is there by now stays: each collection would look through all of it again.
    gc.collect()
    gc.freeze()
    job = msgspec.json.decode(question, type=_Job)
    return msgspec.json.encode(measure(job.metering, job.machine))
