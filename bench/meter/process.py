"""The meter in a process of its own: nothing of the sweep is in its way, and nothing of it in the sweep's."""

from __future__ import annotations

import gc
import multiprocessing
import multiprocessing.connection
import signal
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import forkserver

import msgspec

from bench import children
from bench.kinds import Record
from bench.result import Cost, Machine
from bench.spec import Metering, Run

# Whatever is asked, as JSON, and its answer.
Answer = Callable[[bytes], bytes]
_GRACE_S = 5.0


class Ended(Exception):
    """A process ended before it answered."""


class Apart:
    """A function that answers in a process of its own, one question after the other.

    The process is forked from a server that has imported torch and never touches a GPU. It ends with this
    one, however that ends.

    Args:
        answer: A function of a module, so that the other process finds it.
    """

    def __init__(self, answer: Answer) -> None:
        context = children.context()
        self._connection, theirs = context.Pipe()
        # Not a daemon, which may not start processes: compiling does.
        self._process = context.Process(target=_serve, args=(theirs, answer), daemon=False)
        self._process.start()
        theirs.close()
        self._is_busy = False

    def ask(self, question: bytes) -> bytes:
        """Return the answer to a question.

        Raises:
            Ended: The process is no more.
        """
        self._is_busy = True
        try:
            self._connection.send_bytes(question)
            answer = self._connection.recv_bytes()
            self._is_busy = False
            return answer
        except (EOFError, OSError):
            self._process.join()
            code = self._process.exitcode or 0
            reason = f"signal {-code} ({_name_signal(-code)})" if code < 0 else f"exit code {code}"
            raise Ended(f"its process ended with {reason}") from None

    def stop(self) -> None:
        """End the process, whatever it is doing."""
        # Without the connection it ends by itself, in good order, unless it is busy.
        self._connection.close()
        if not self._is_busy:
            self._process.join(_GRACE_S)
        self._process.terminate()
        self._process.join()


class _Job(Record, frozen=True, kw_only=True):
    metering: Metering
    machine: Machine


def start_server() -> None:
    """Begin to start the server, which imports torch meanwhile; nothing waits."""
    children.context()
    forkserver.ensure_running()


def measure_all(jobs: Iterable[tuple[Metering, Machine]]) -> Iterator[Cost]:
    """Yield what each cell's step costs, in order, each measured by itself in a process that is not this one.

    On a CPU cells share a process while all goes well; on anything else each has a fresh one, as an
    allocator's history is part of its figures. A cell that ends its process has the status `killed`. Models
    and data that only this program holds can't leave it: they are measured here, and noted.

    Args:
        jobs: Cells, and the machine to record beside their numbers.
    """
    from bench.meter.step import conclude_killed, measure

    apart: Apart | None = None
    try:
        for metering, machine in jobs:
            if is_held_here(metering.run):
                cost = measure(metering, machine)
                note = "process: measured in the sweep's own, which alone holds this model and data"
                yield msgspec.structs.replace(cost, notes=(*cost.notes, note))
                continue
            apart = apart or Apart(_answer)
            try:
                answer = apart.ask(msgspec.json.encode(_Job(metering=metering, machine=machine)))
                cost = msgspec.json.decode(answer, type=Cost)
            except Ended as error:
                cost = conclude_killed(metering, machine, str(error))
            if cost.status in ("killed", "oom") or metering.run.device != "cpu":
                apart.stop()
                apart = None
            yield cost
    finally:
        if apart is not None:
            apart.stop()


def is_held_here(run: Run) -> bool:
    """Return whether a run's model or data exist in the running program only."""
    return any(target.startswith("bench.held.") for target in (run.data.target, run.model.target))


def _serve(connection: multiprocessing.connection.Connection, answer: Answer) -> None:
    children.follow_parent()
    while True:
        try:
            question = connection.recv_bytes()
        except EOFError:
            return
        connection.send_bytes(answer(question))


def _answer(question: bytes) -> bytes:
    from bench.meter.step import measure

    # What is there by now stays: each collection would look through all of it again.
    gc.collect()
    gc.freeze()
    job = msgspec.json.decode(question, type=_Job)
    return msgspec.json.encode(measure(job.metering, job.machine))


def _name_signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"
