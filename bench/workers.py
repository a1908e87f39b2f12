"""Training many runs side by side: processes that are started once it pays, and may die without the sweep."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import Literal, Self

from bench.children import context, follow_parent
from bench.result import Machine, Result
from bench.spec import Run

Job = tuple[Run, Machine]
Trained = tuple[Result, dict[str, bytes]]
# Starting processes costs some seconds (each imports torch once): below this much work they only delay.
WORTHWHILE_S = 20.0


class Workers:
    """Trains runs: here while that is short work, in processes of their own when it is not.

    A run's numbers are the same wherever it trains. A context manager: leaving it ends the processes.

    Args:
        num: Runs that may train at once.
    """

    def __init__(self, num: int) -> None:
        self.num = num
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._stop(is_hurried=kind is not None)

    def train(self, jobs: Sequence[Job]) -> Iterator[tuple[int, Trained]]:
        """Yield each job's number and what came of it, in the order they end."""
        from bench import train

        waiting = list(enumerate(jobs))
        while waiting and (self.num == 1 or self._pool is None):
            number, job = waiting.pop(0)
            start = time.perf_counter()
            yield number, train.train(*job)
            # The newest run tells what the rest takes, with its evaluations and its start.
            if self.num > 1 and (time.perf_counter() - start) * len(waiting) > WORTHWHILE_S:
                break
        if waiting:
            yield from self._train_apart(waiting)

    def _train_apart(self, waiting: list[tuple[int, Job]]) -> Iterator[tuple[int, Trained]]:
        if self._pool is None:
            self._pool = _start(self.num)
        unfinished = dict(waiting)
        try:
            futures = {self._pool.submit(_train, job): number for number, job in waiting}
            for future in as_completed(futures):
                trained = future.result()
                del unfinished[futures[future]]
                yield futures[future], trained
        except BrokenProcessPool:
            # A process died and took its companions' work along: one at a time shows which run does that.
            self._stop(is_hurried=True)
            for number, job in unfinished.items():
                yield number, _train_alone(job)

    def _stop(self, *, is_hurried: bool) -> None:
        assert self._pool is not None
        children = multiprocessing.active_children()
        self._pool.shutdown(wait=not is_hurried, cancel_futures=True)
        if is_hurried:
            for child in children:
                child.terminate()
        self._pool = None


def count_workers(asked: int | Literal["auto"], device: str, threads: int) -> int:
    """Return how many runs train at once.

    Args:
        asked: A number, or auto: one a core for each `threads` on a CPU, one on anything else.
        device: Device kind of the runs.
        threads: CPU threads of each run.
    """
    if asked != "auto":
        return asked
    if device != "cpu":
        return 1
    # Not every system says which cores this process may use.
    affinity = getattr(os, "sched_getaffinity", None)
    return max(1, (len(affinity(0)) if affinity else os.cpu_count() or 1) // threads)


def _start(num: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(num, mp_context=context(), initializer=follow_parent)


def _train(job: Job) -> Trained:
    from bench import train

    return train.train(*job)


def _train_alone(job: Job) -> Trained:
    """Train one run in a process of its own; a run that ends its process has the status `killed`."""
    from bench import train

    pool = _start(1)
    try:
        return pool.submit(_train, job).result()
    except BrokenProcessPool:
        return train.conclude_killed(*job), {}
    finally:
        pool.shutdown()
