"""A search in processes of their own, which can be told when to die: what the tests of searching run."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import time
from collections.abc import Sequence
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from optuna.storages.journal import JournalFileBackend

from bench.effort import Dimension, Search
from bench.search import trials
from bench.search.searcher import Searcher
from bench.search.space import Params, Space

LR = "optimizer.lr"
DECADES = Dimension(low=1e-5, high=1e-1, log=True)


class Death(NamedTuple):
    """At which writing to the journal a process is killed, and in what state that leaves the file."""

    writing: int
    moment: str


def make_search(sampler: str = "grid", **changes: Any) -> Search:
    values: dict[str, Any] = {
        "name": "lr",
        "sampler": sampler,
        "trials": 9,
        "per_decade": 2.0,
        "seeds": 1,
        "confirm": 3,
        "confirm_seeds": 3,
        "widen": True,
        "widen_rounds": 3,
        "widen_trials": 2,
        "is_previewed": True,
        "storage": None,
        "space": {},
    }
    return Search(**(values | changes))


def make_searcher(
    journal: Path, sampler: str = "grid", space: Space | None = None, **changes: Any
) -> Searcher:
    varied = {LR: DECADES} if space is None else space
    default: Params = {LR: 1e-3} if varied.keys() <= {LR} else {LR: 1e-3, "optimizer.weight_decay": 0.01}
    return Searcher(varied, make_search(sampler, **changes), default, journal, "adamw-photo_mlp")


def loss(params: Params) -> float | None:
    """A bowl in log lr whose steep side diverges."""
    lr = float(params[LR])
    return None if lr > 0.03 else (math.log10(lr) + 2.4) ** 2 + math.sin(40 * math.log10(lr)) / 50


def finish(searcher: Searcher, num: int = 1, pause_s: float = 0.0) -> list[int]:
    """Try settings until all are told, here or elsewhere; return the numbers tried here."""
    tried = []
    while not searcher.is_complete():
        proposals = searcher.ask(num)
        # Backwards: values need not come in the order of the questions.
        for number, params in reversed(proposals):
            tried.append(number)
            time.sleep(pause_s)
            searcher.tell(number, loss(params))
        if not proposals:
            time.sleep(0.005)
    return tried


def start(
    journal: Path,
    search: Search,
    *,
    num: int = 1,
    death: Death | None = None,
    barrier: Any = None,
    queue: Any = None,
) -> ForkServerProcess:
    """Start a process that finishes a search, or dies while doing so."""
    process = context().Process(
        target=_work, args=(journal, msgspec.json.encode(search), num, death, barrier, queue)
    )
    process.start()
    return process


def context() -> ForkServerContext:
    """Return where processes come from: forks of the server that has imported everything (see conftest)."""
    return multiprocessing.get_context("forkserver")


def run_together(journal: Path, search: Search, *, processes: int = 2, num: int = 1) -> list[list[int]]:
    """Finish one search with several processes at once; return the numbers each has tried."""
    barrier, queue = context().Barrier(processes), context().SimpleQueue()
    started = [start(journal, search, num=num, barrier=barrier, queue=queue) for _ in range(processes)]
    tried: Sequence[list[int]] = [queue.get() for _ in started]
    for process in started:
        process.join(30)
        assert process.exitcode == 0
    return list(tried)


def _work(journal: Path, search: bytes, num: int, death: Death | None, barrier: Any, queue: Any) -> None:
    # Optuna warns below 3 s.
    trials.LOCK_GRACE_S = 3
    if death is not None:
        _prepare(death)
    settings = msgspec.json.decode(search, type=Search)
    pause_s = 0.0
    if barrier is not None:
        barrier.wait(30)
        # So that neither is done before the other has begun.
        pause_s = 0.01
    searcher = Searcher({LR: DECADES}, settings, {LR: 1e-3}, journal, "adamw-photo_mlp")
    tried = finish(searcher, num, pause_s)
    if queue is not None:
        queue.put(tried)


def _prepare(death: Death) -> None:
    append = JournalFileBackend.append_logs
    count = 0

    def append_or_die(self: JournalFileBackend, logs: list[dict[str, Any]]) -> None:
        nonlocal count
        count += 1
        if count != death.writing:
            append(self, logs)
            return
        if death.moment == "locked":
            self._lock.acquire()
        if death.moment == "after":
            append(self, logs)
        elif death.moment != "before":
            line = msgspec.json.encode(logs[0])
            with open(self._file_path, "ab") as file:
                file.write(line[: len(line) // 2])
        os.kill(os.getpid(), signal.SIGKILL)

    JournalFileBackend.append_logs = append_or_die  # type: ignore[method-assign]
