"""Which engine trains which runs: what a study asks for, or whichever a short trial shows to be faster."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from bench import publish
from bench.cost import Pace
from bench.errors import StoreError
from bench.identity import run_id
from bench.result import Machine
from bench.spec import Run, Study
from bench.store import Store, environment
from bench.together import find_shape
from bench.workers import Workers

# Fewer steps in all are over before a trial would be.
MIN_STEPS = 3000
# Members that are tried: fewer gain little, and on a CPU no more of them train together.
MIN_TRIED, MAX_TRIED = 2, 64
# How much faster a population has to be.
MARGIN = 1.1


class Choice:
    """The shapes of runs that train as populations; what was tried once is looked up from then on.

    It is decided by how many runs of a shape are planned, not by how many are left of them: a sweep that is
    started again goes on with the engine it began with.

    Args:
        planned: All runs of the batch, done ones included, with their studies.
        store: Keeps what was tried.
        workers: One of them tries; one is free.
        machine: Where it trains.
    """

    def __init__(
        self, planned: Iterable[tuple[Study, Run]], store: Store, workers: Workers, machine: Machine
    ) -> None:
        self._folder = store.root / "engines" / environment(machine)
        self._workers = workers
        self._planned: dict[bytes, dict[str, Run]] = {}
        self._is_asked: dict[bytes, bool] = {}
        self._is_chosen: dict[bytes, bool] = {}
        for study, run in planned:
            shape = _find_shape(study, run)
            if shape is not None:
                self._planned.setdefault(shape, {})[run_id(run)] = run
                self._is_asked[shape] = study.engine.name == "population"

    def find_shape(self, study: Study, run: Run) -> bytes | None:
        """Return what a run shares with those it is to train with; None: it trains eagerly."""
        shape = _find_shape(study, run)
        if shape is None:
            return None
        if shape not in self._is_chosen:
            self._is_chosen[shape] = self._is_asked[shape] or self._is_faster(shape)
        return shape if self._is_chosen[shape] else None

    def _is_faster(self, shape: bytes) -> bool:
        runs = list(self._planned[shape].values())
        if len(runs) < 2 * MIN_TRIED or len(runs) * runs[0].budget.steps < MIN_STEPS:
            return False
        # Half of them, as if two processes shared them: how many do changes no choice. A power of two, so
        # that neighbours share a trial.
        num = min(MAX_TRIED, 1 << ((len(runs) // 2).bit_length() - 1))
        # Of every optimizer's.
        pace = self._find_pace(shape, runs[:: len(runs) // num][:num])
        return (
            pace is not None and pace.population_s is not None and (pace.eager_s > MARGIN * pace.population_s)
        )

    def _find_pace(self, shape: bytes, runs: Sequence[Run]) -> Pace | None:
        digest = hashlib.sha256(shape + str(len(runs)).encode()).hexdigest()[:32]
        path = self._folder / f"{digest}.json"
        if (known := _read(path)) is not None:
            return known
        pace = self._workers.inquiry.measure_pace(runs)
        if pace is None:
            return None
        # Where nothing can be written the same is tried again; where somebody else was first, theirs holds.
        with contextlib.suppress(OSError, StoreError):
            publish.link_new(path, msgspec.json.encode(pace))
        return _read(path) or pace


def _find_shape(study: Study, run: Run) -> bytes | None:
    """Return what a run shares with those it may train with, as far as its study lets it."""
    # A trial would mostly time the compiler.
    is_tried = run.compile.name == "none" or study.engine.name == "population"
    return find_shape(run) if is_tried and study.engine.name != "eager" else None


def _read(path: Path) -> Pace | None:
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        return msgspec.json.decode(path.read_bytes(), type=Pace)
    return None
