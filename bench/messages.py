"""What a sweep and its worker processes say to each other."""

from __future__ import annotations

from typing import Literal, NamedTuple

import msgspec

from bench import machine
from bench.kinds import Record
from bench.result import Machine, Result
from bench.spec import Data, Run


class Charge(Record, frozen=True, kw_only=True):
    """One run of a job."""

    run: Run
    # Where its state is saved from time to time; None: nowhere.
    folder: str | None


class Job(Record, frozen=True, kw_only=True, tag=True):
    """A run to train, or several as one population."""

    charges: tuple[Charge, ...]
    is_population: bool = False
    machine: Machine
    every_s: float
    # Takes what is written to stdout and stderr, by C code too; None: they stay as they are.
    log: str | None = None


class Question(Record, frozen=True, kw_only=True, tag=True):
    """Something to look up where torch is: whether runs can start, what data holds, what is faster."""

    kind: Literal["check", "sha256", "device", "pace"]
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
    # progress, end: which run of the job.
    place: int = 0
    # progress: steps taken, and the newest loss where it is finite.
    step: int = 0
    loss: float | None = None
    # end.
    result: Result | None = None
    files: dict[str, bytes] = {}
    # answer: the text asked for; refused: the class of the error, and its line.
    text: str = ""
    error: str = ""
