"""What a worker process does: it trains what it is sent, one run after the other, and tells how that goes."""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import math
import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from bench import machine
from bench.cause import explain
from bench.errors import BenchError, BuildError, Unsupported
from bench.kinds import Record
from bench.result import Machine, Result
from bench.sources import digest_sources
from bench.spec import Data, Run
from bench.tally import Tally


class Job(Record, frozen=True, kw_only=True, tag=True):
    """A run to train."""

    run: Run
    machine: Machine
    # Where its state is saved from time to time; None: nowhere.
    folder: str | None
    every_s: float
    # Takes what is written to stdout and stderr, by C code too; None: they stay as they are.
    log: str | None = None


class Question(Record, frozen=True, kw_only=True, tag=True):
    """Something to look up where torch is: whether runs can start, what data holds."""

    kind: Literal["check", "sha256", "device"]
    runs: tuple[Run, ...] = ()
    data: Data | None = None
    # As a study asks for it: a kind, or auto.
    device: str = "auto"


class Found(NamedTuple):
    """The device that a request means on this machine."""

    kind: machine.Device
    name: str
    # That this process may use, if they are CUDA devices.
    num: int


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker tells."""

    kind: Literal["begin", "progress", "end", "answer", "refused"]
    # progress: steps taken, and the newest loss where it is finite.
    step: int = 0
    loss: float | None = None
    # end.
    result: Result | None = None
    files: dict[str, bytes] = {}
    # answer: the text asked for; refused: the class of the error, and its line.
    text: str = ""
    error: str = ""


def serve(connection: Connection) -> None:
    """Train and answer what comes in, until an empty message does."""
    # For good: a process that was asked to stop gets no other run.
    is_asked_to_stop = False

    def stop(*_: object) -> None:
        nonlocal is_asked_to_stop
        is_asked_to_stop = True

    for number in (signal.SIGTERM, signal.SIGUSR2):
        signal.signal(number, stop)
    # A crash leaves its line and its log; an image of the memory would take longer than the run.
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    while content := connection.recv_bytes():
        asked = msgspec.msgpack.decode(content, type=Job | Question)
        if isinstance(asked, Question):
            message = _answer(asked)
        else:
            _send(connection, Message(kind="begin"))

            def tell(step: int, loss: float | None) -> None:
                _send(connection, Message(kind="progress", step=step, loss=loss))

            message = train_job(asked, lambda: is_asked_to_stop, tell)
            _let_go()
        _send(connection, message)


def train_job(
    job: Job, should_stop: Callable[[], bool], tell: Callable[[int, float | None], None]
) -> Message:
    """Train one run in this process, and return its end.

    Args:
        job: The run, and where its state and its output go.
        should_stop: Asked after each step.
        tell: Called with the steps taken and the newest loss where it is finite.
    """
    from bench import train
    from bench.checkpoint import Checkpoints

    def tell_finite(step: int, loss: float) -> None:
        tell(step, loss if math.isfinite(loss) else None)

    with _logged(job.log):
        try:
            _hold_sources(job.run)
            keep = None if job.folder is None else Checkpoints(Path(job.folder), job.every_s)
            result, files = train.train(job.run, job.machine, keep, should_stop, tell_finite)
        except BaseException as error:
            if job.log is None and isinstance(error, KeyboardInterrupt):
                raise
            # Code that changed, or what is no Exception, as sys.exit() raises; train() knows the others.
            status, detail = explain(error)
            files = {"traceback.txt": traceback.format_exc().encode()}
            result = Tally().conclude(
                job.run, status, detail, job.machine, engine="eager", artifacts=tuple(files)
            )
    return Message(kind="end", result=result, files=files)


def _let_go() -> None:
    """Give back what a run left in a GPU's memory, where others have to live as well."""
    import torch

    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        gc.collect()
        torch.cuda.empty_cache()


def _send(connection: Connection, message: Message) -> None:
    # Nobody may be there to hear it; then this process ends on its own.
    with contextlib.suppress(OSError):
        connection.send_bytes(msgspec.msgpack.encode(message))


@contextlib.contextmanager
def _logged(path: str | None) -> Iterator[None]:
    """Send all that this process writes to a file, which begins anew."""
    if path is None:
        yield
        return
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o666)
    for number in (1, 2):
        os.dup2(descriptor, number)
    os.close(descriptor)
    # A crash in C code says where it was, too.
    faulthandler.enable(2)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()


def _hold_sources(run: Run) -> None:
    """Refuse code that is not what it was when the sweep began; what is imported already stays as it was."""
    for target, digest in digest_sources(run.sources).items():
        if digest != run.sources[target]:
            raise BuildError(
                f"{target}: its code was changed after the sweep began; the same command runs it as it is now"
            )


def _answer(question: Question) -> Message:
    from bench import build

    try:
        if question.kind == "device":
            kind = machine.resolve_device(question.device)
            found = Found(kind, machine.name_device(kind), count_devices() if kind == "cuda" else 0)
            return Message(kind="answer", text=msgspec.json.encode(found).decode())
        if question.kind == "sha256":
            assert question.data is not None
            with contextlib.suppress(Unsupported):
                return Message(kind="answer", text=build.load_data(question.data, "cpu").sha256)
            return Message(kind="answer")
        check(question.runs)
    except BenchError as error:
        return Message(kind="refused", error=type(error).__name__, text=str(error))
    return Message(kind="answer")


def count_devices() -> int:
    """Return the number of CUDA devices that this process may use."""
    import torch

    return torch.cuda.device_count()


def check(runs: Iterable[Run]) -> None:
    """Refuse what could not start; data that is not there is none of it, but a row that says so.

    Raises:
        BuildError, SpecError, DataError: One of them can't; the line says why.
    """
    from bench import build

    for run in runs:
        build.check(run)
        with contextlib.suppress(Unsupported):
            build.load_data(run.data, "cpu")
