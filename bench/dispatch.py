"""Which run starts next: none that somebody else has begun with, and none whose cell ran out of memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from bench.checkpoint import Checkpoints
from bench.claims import Claims
from bench.identity import run_id
from bench.result import SETTLED, Machine, Result
from bench.spec import Run
from bench.store import Store
from bench.tally import Tally
from bench.workers import Workers

# Where all that is left is in others' hands: how often to look whether they are done.
POLL_S = 0.5
_TICK_S = 0.2
# A run that was killed so often is left alone, until `retry=killed` asks for it: it may be what is to blame.
MAX_KILLED = 3
# Ends of others' attempts that are taken up as ours; after any other we try ourselves.
_TOLD = frozenset({"failed", "oom", "timeout", "unsupported"})


class Wanted(NamedTuple):
    """A run that is to be trained, once and by whomever."""

    run: Run
    machine: Machine
    # Seconds between two saves of its state.
    every_s: float
    # How often it was killed already; so often in all it is tried again.
    num_killed: int = 0


class Dispatch:
    """Trains a batch of runs, and publishes what comes of each.

    Args:
        wanted: Different runs, in the order they are to start.
        ended: Ends that are known already; who ran out of memory among them tells of its cell.
        store: Where results go.
        workers: Train them.
        claims: Keep others from the same run.
        should_stop: Once it says yes nothing more is started, and what is under way ends early.
        say: Shows a line.
    """

    def __init__(
        self,
        wanted: Sequence[Wanted],
        ended: Sequence[Result],
        store: Store,
        workers: Workers,
        claims: Claims,
        should_stop: Callable[[], bool],
        say: Callable[[str], None],
    ) -> None:
        self._wanted = wanted
        self._store = store
        self._workers = workers
        self._claims = claims
        self._should_stop = should_stop
        self._say = say
        self._num_killed = [one.num_killed for one in wanted]
        self._ids = [run_id(one.run) for one in wanted]
        self._folders = [
            store.run_folder(key, one.machine) for key, one in zip(self._ids, wanted, strict=True)
        ]
        # Attempts that were there before: an end that comes to light later is news.
        self._num_attempts = [
            store.count_attempts(key, one.machine) for key, one in zip(self._ids, wanted, strict=True)
        ]
        self._waiting = list(range(len(wanted)))
        # When to look again at what others are at.
        self._look_at = [0.0] * len(wanted)
        self._oom: dict[str, Result] = {}
        for result in ended:
            self._note(result)

    def train(self) -> Iterator[tuple[int, Result]]:
        """Yield the number and the end of each run, in the order they end; not all of them once stopped."""
        while self._workers.is_busy or (self._waiting and not self._should_stop()):
            yield from self._begin()
            if not self._workers.is_busy:
                time.sleep(_TICK_S)
            for end in self._workers.wait(_TICK_S):
                published = self._publish(end.number, end.result, end.files)
                if not self._is_tried_again(end.number, published):
                    yield end.number, published

    def _begin(self) -> Iterator[tuple[int, Result]]:
        """Start runs while there is room; yield those that need no start."""
        for number in list(self._waiting):
            if not self._workers.is_free or self._should_stop():
                return
            one = self._wanted[number]
            if time.monotonic() < self._look_at[number]:
                continue
            is_ours = self._claims.take(self._folders[number])
            # In this order: whoever had the claim published before giving it up.
            told = self._find_told(number)
            if told is None and is_ours and (cause := self._oom.get(name_cell(one.run))) is not None:
                told = self._store.publish(_skip(one, cause))
            if told is None and is_ours:
                self._waiting.remove(number)
                self._workers.start(number, one.run, one.machine, self._folders[number], one.every_s)
            elif told is not None:
                self._waiting.remove(number)
                if is_ours:
                    self._claims.release(self._folders[number])
                self._note(told)
                yield number, told
            else:
                self._look_at[number] = time.monotonic() + POLL_S

    def _find_told(self, number: int) -> Result | None:
        """Return how a run ended elsewhere since this batch began."""
        key, machine = self._ids[number], self._wanted[number].machine
        if (settled := self._store.find(key, machine)) is not None:
            return settled
        if self._store.count_attempts(key, machine) > self._num_attempts[number]:
            attempt = self._store.last_attempt(key, machine)
            if attempt is not None and attempt.status in _TOLD:
                return attempt
        return None

    def _publish(self, number: int, result: Result, files: dict[str, bytes]) -> Result:
        published = self._store.publish(result, files)
        folder = self._folders[number]
        if published.status in SETTLED:
            Checkpoints(folder, 0.0).remove()
        self._claims.release(folder)
        self._note(published)
        return published

    def _is_tried_again(self, number: int, result: Result) -> bool:
        """Return whether a run waits once more: nothing says that what killed it was its own doing."""
        if result.status != "killed":
            return False
        self._num_killed[number] += 1
        if self._num_killed[number] >= MAX_KILLED or self._should_stop():
            return False
        self._say(f"{result.run.optimizer.name} seed={result.run.seed}: {result.detail}; it is tried again")
        self._num_attempts[number] = self._store.count_attempts(result.id, result.machine)
        self._waiting.append(number)
        return True

    def _note(self, result: Result) -> None:
        if result.status == "oom":
            self._oom.setdefault(name_cell(result.run), result)


def name_cell(run: Run) -> str:
    """Return what runs share that differ in seed and lr only: what a step needs and does is the same."""
    optimizer = msgspec.structs.replace(run.optimizer, lr=1.0)
    return run_id(msgspec.structs.replace(run, seed=0, optimizer=optimizer))


def _skip(one: Wanted, cause: Result) -> Result:
    where = f"lr={cause.run.optimizer.lr:g} seed={cause.run.seed}"
    detail = f"not tried: the same cell ran out of memory at {where}"
    return Tally().conclude(one.run, "oom", detail, one.machine, engine=cause.engine)
