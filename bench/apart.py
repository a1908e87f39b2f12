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
from typing import TYPE_CHECKING

import msgspec

from bench import machine
from bench.cause import explain
from bench.errors import BenchError, BuildError, Unsupported
from bench.messages import Charge, Found, Job, Message, Question
from bench.sources import digest_sources
from bench.spec import Run

if TYPE_CHECKING:
    from bench.checkpoint import Checkpoints


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
            _send(connection, _answer(asked))
        else:
            _send(connection, Message(kind="begin"))

            def tell(place: int, step: int, loss: float | None) -> None:
                _send(connection, Message(kind="progress", place=place, step=step, loss=loss))

            for message in train_job(asked, lambda: is_asked_to_stop, tell):
                _send(connection, message)
            _let_go()


def train_job(
    job: Job, should_stop: Callable[[], bool], tell: Callable[[int, int, float | None], None]
) -> Iterator[Message]:
    """Train the runs of a job in this process, and yield the end of each.

    Args:
        job: The runs, and where their state and what is written go.
        should_stop: Asked after each step.
        tell: Called with a run's place in the job, the steps taken, and the newest loss where it is finite.
    """
    from bench.train import train, train_together
    from bench.trainee import Trainee

    trainees = [
        Trainee(charge.run, _keep(charge, job.every_s), _tell_finite(tell, place))
        for place, charge in enumerate(job.charges)
    ]
    left = dict(enumerate(trainees))
    with _logged(job.log):
        try:
            for charge in job.charges:
                _hold_sources(charge.run)
            if job.is_population:
                for place, result, files in train_together(trainees, job.machine, should_stop):
                    del left[place]
                    yield Message(kind="end", place=place, result=result, files=files)
            for place, one in list(left.items()):
                result, files = train(one.run, job.machine, one.keep, should_stop, one.tell)
                del left[place]
                yield Message(kind="end", place=place, result=result, files=files)
        except BaseException as error:
            if isinstance(error, GeneratorExit) or (job.log is None and isinstance(error, KeyboardInterrupt)):
                raise
            # Code that changed, or what is no Exception, as sys.exit() raises; train() knows the others.
            status, detail = explain(error)
            files = {"traceback.txt": traceback.format_exc().encode()}
            for place, one in left.items():
                result = one.conclude(status, detail, files, job.machine, "eager")
                yield Message(kind="end", place=place, result=result, files=files)


def _keep(charge: Charge, every_s: float) -> Checkpoints | None:
    from bench.checkpoint import Checkpoints

    return None if charge.folder is None else Checkpoints(Path(charge.folder), every_s)


def _tell_finite(tell: Callable[[int, int, float | None], None], place: int) -> Callable[[int, float], None]:
    return lambda step, loss: tell(place, step, loss if math.isfinite(loss) else None)


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
        if question.kind == "pace":
            from bench.pace import measure

            return Message(kind="answer", text=msgspec.json.encode(measure(question.runs)).decode())
        return Message(kind="answer", text="\n".join(check(question.runs)))
    except BenchError as error:
        return Message(kind="refused", error=type(error).__name__, text=str(error))


def count_devices() -> int:
    """Return the number of CUDA devices that this process may use."""
    import torch

    return torch.cuda.device_count()


def check(runs: Iterable[Run]) -> list[str]:
    """Refuse by a BenchError what could not start; return what warns of the data, a line each, once a set.

    Data that is not there is no such thing, but a row that says so.
    """
    from bench import build
    from bench.soundness.admit import admit

    lines: list[str] = []
    for run in runs:
        build.check(run)
        with contextlib.suppress(Unsupported):
            lines += admit(run.data, build.load_data(run.data, "cpu"))
    return lines
