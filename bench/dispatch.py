"""Which run starts next: none that somebody else has begun with, and none whose cell ran out of memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from bench.checkpoint import Checkpoints
from bench.claims import Claims
from bench.errors import FullError
from bench.identity import run_id
from bench.outbox import Outbox, Room
from bench.result import SETTLED, Result
from bench.slot import End
from bench.store import Store
from bench.together import limit_members
from bench.wanted import Wanted, name_cell, skip
from bench.workers import Workers

# Where all that is left is in others' hands: how often to look whether they are done.
POLL_S = 0.5
_TICK_S = 0.2
# A run that was killed so often is left alone, until `retry=killed` asks for it: it may be what is to blame.
MAX_KILLED = 3
# Ends of others' attempts that are taken up as ours; after any other we try ourselves.
_TOLD = frozenset({"failed", "oom", "timeout", "unsupported"})


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
        self._room = Room(store.root, should_stop, say)
        self._outbox = Outbox(store, self._room, should_stop, say)
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
        # Those whose process went down with others in it: each has one of its own from then on.
        self._apart: set[int] = set()
        for result in ended:
            self._note(result)

    def train(self) -> Iterator[tuple[int, Result]]:
        """Yield the number and the end of each run, in the order they end; not all of them once stopped."""
        while self._workers.is_busy or self._outbox or (self._waiting and not self._should_stop()):
            try:
                yield from self._begin()
            except FullError:
                self._room.run_out()
            if not self._workers.is_busy:
                time.sleep(_TICK_S)
            ends = self._workers.wait(_TICK_S)
            self._part([end for end in ends if end.is_shared])
            self._outbox.add([end for end in ends if not end.is_shared])
            for number, published in self._outbox.send():
                self._put_away(number, published)
                if not self._is_tried_again(number, published):
                    yield number, published

    def _begin(self) -> Iterator[tuple[int, Result]]:
        """Start runs while there is room; yield those that need no start."""
        for number in list(self._waiting):
            if not self._workers.is_free or self._should_stop() or self._outbox or self._room.is_waiting:
                return
            if number not in self._waiting:
                continue
            group = self._list_group(number)
            # Whoever is free takes a share.
            most = limit_members(self._wanted[number].run)
            group = group[: min(most, -(-len(group) // self._workers.num_free))]
            ready = []
            for one in group:
                told = self._look(one)
                if told is not None:
                    yield one, told
                elif one in self._waiting and self._look_at[one] <= time.monotonic():
                    ready.append(one)
            if ready:
                self._start(ready)

    def _list_group(self, number: int) -> list[int]:
        """Return the waiting runs that may train together with one, itself first."""
        shape, now = self._wanted[number].shape, time.monotonic()
        if self._look_at[number] > now:
            return []
        if shape is None or number in self._apart:
            return [number]
        return [
            other
            for other in self._waiting
            if self._wanted[other].shape == shape and other not in self._apart and self._look_at[other] <= now
        ]

    def _look(self, number: int) -> Result | None:
        """Claim a run; return its end if that is known by now. Where it isn't ours, look again later."""
        one = self._wanted[number]
        is_ours = self._claims.take(self._folders[number])
        # In this order: whoever had the claim published before giving it up.
        told = self._find_told(number)
        if told is None and is_ours and (cause := self._oom.get(name_cell(one.run))) is not None:
            told = self._store.publish(skip(one, cause))
        if told is not None:
            self._waiting.remove(number)
            if is_ours:
                self._claims.release(self._folders[number])
            self._note(told)
        elif not is_ours:
            self._look_at[number] = time.monotonic() + POLL_S
        return told

    def _start(self, numbers: Sequence[int]) -> None:
        first = self._wanted[numbers[0]]
        for number in numbers:
            self._waiting.remove(number)
        self._workers.start(
            numbers,
            [self._wanted[number].run for number in numbers],
            first.machine,
            [self._folders[number] for number in numbers],
            first.every_s,
            is_population=first.shape is not None,
        )

    def _part(self, ends: Sequence[End]) -> None:
        """Let runs whose process went down wait once more, each for one of its own."""
        for end in ends:
            self._claims.release(self._folders[end.number])
            self._waiting.append(end.number)
            self._apart.add(end.number)
        if ends:
            self._say(f"{len(ends)} runs of one process: {ends[0].result.detail}; each is tried by itself")

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

    def _put_away(self, number: int, published: Result) -> None:
        folder = self._folders[number]
        if published.status in SETTLED:
            Checkpoints(folder, 0.0).remove()
        self._claims.release(folder)
        self._note(published)

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
