"""One search shared by any number of processes: who tries which setting, and what came of it."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
from optuna.trial import FrozenTrial, TrialState

from bench.effort import Search
from bench.search.claim import Claims, counting
from bench.search.grid import Side, Trial, make_grid, make_offsets, widen_interval, widen_offsets
from bench.search.sampler import ADAPTIVE, decode, encode, propose
from bench.search.space import LR, Params, Space
from bench.search.trials import open_trials


class Proposal(NamedTuple):
    """One setting that this process has claimed, and owes a value for."""

    number: int
    params: Params


class Searcher:
    """Which settings are wanted, which are claimed by whom, and what came of them.

    A setting is claimed once, whatever processes share the search (see `bench.search.claim`). What a sampler
    gives follows from the setting's number and the values before it: killed, resumed or lost, a search
    comes out the same.
    """

    def __init__(self, space: Space, search: Search, default: Params, journal: Path, name: str) -> None:
        """Open a search, or create it.

        Args:
            space: What is varied, from `make_space`.
            search: Sampler, number of settings, and the database if any.
            default: The setting that is tried first, from `declared`.
            journal: File that keeps the search unless `search.storage` names a database.
            name: What the search is called there; another space, sampler or default is another search.

        Raises:
            SpecError: `search.storage` can't be opened.
            StoreError: `journal` can't be opened.
        """
        self._search = search
        self._default = default
        self._space = space
        self._offsets = make_offsets(space, search)
        self._num_widened = 0
        # Settings follow from these: proposals made for one space are not answers for another.
        basis = json.dumps([search.sampler, msgspec.to_builtins(space), default], sort_keys=True)
        digest = hashlib.sha256(basis.encode()).hexdigest()[:8]
        self._claims = Claims(open_trials(search.storage, journal, f"{name}/{search.sampler}-{digest}"))
        # Number of a setting -> number of the Optuna trial that claims it.
        self._open: dict[int, int] = {}

    @property
    def num_total(self) -> int:
        """How many settings are wanted in all, those of widenings included."""
        return len(self._keys())

    @property
    def space(self) -> Space:
        """What is varied, with the bounds of lr as they are now: on a grid those of its points."""
        if not self._is_grid or not self._has_lr_interval:
            return dict(self._space)
        lrs = [float(point[LR]) for point in self._grid()]
        return self._space | {LR: msgspec.structs.replace(self._space[LR], low=min(lrs), high=max(lrs))}

    def ask(self, num: int = 1) -> list[Proposal]:
        """Claim settings that nobody has; those of processes that died come first, as they were.

        Args:
            num: At most so many. An adaptive sampler gives one, and none while that is open.

        Returns:
            Settings to try, each owed to `tell`. None when all are told or claimed: `is_complete` says which,
            and a later `ask` takes over from a process that died meanwhile.
        """
        if self._search.sampler in ADAPTIVE:
            num = min(num, 1 - len(self._open))
        proposals: list[Proposal] = []
        while len(proposals) < num:
            trials = self._claims.read()
            if self._claims.withdraw_dead(trials):
                continue
            claims = counting(trials)
            number = next((n for n, key in enumerate(self._keys()) if key not in claims), None)
            if number is None:
                break
            if (params := self._claim(number, trials, claims)) is not None:
                proposals.append(Proposal(number, params))
        return proposals

    def tell(self, number: int, value: float | None) -> None:
        """Record what came of a setting, at once and in any order: samplers see settings by number.

        Args:
            number: Of a proposal of this Searcher, or of a setting that `open_elsewhere` gave.
            value: Loss, smaller is better; None: diverged or failed, from which samplers keep away.
        """
        loss = math.inf if value is None or not math.isfinite(value) else value
        trial = self._open.pop(number, None)
        if trial is None:
            trial = counting(self._claims.read())[self._keys()[number]].number
        self._claims.answer(trial, loss)

    def trials(self) -> list[Trial]:
        """Return the wanted settings told so far, by number; those of a widening only after `widen`."""
        claims = counting(self._claims.read())
        found = []
        for number, key in enumerate(self._keys()):
            trial = claims.get(key)
            if trial is not None and trial.value is not None:
                value = trial.value if math.isfinite(trial.value) else None
                found.append(Trial(number, decode(self._space, trial.params), value))
        return found

    def is_complete(self) -> bool:
        """Return whether every wanted setting is told, here or elsewhere."""
        return len(self.trials()) == self.num_total

    def open_elsewhere(self) -> list[Proposal]:
        """Return the settings that others have claimed and nobody has told: who knows the value may."""
        claims = counting(self._claims.read())
        return [
            Proposal(number, decode(self._space, claims[key].params))
            for number, key in enumerate(self._keys())
            if number not in self._open and key in claims and claims[key].state == TrialState.RUNNING
        ]

    def waiting_for(self) -> list[str]:
        """Return a line for each setting that is claimed and not told: "setting 3 on node7, process 4242"."""
        claims = counting(self._claims.read())
        return [
            f"setting {number} on {claims[key].user_attrs['host']}, process {claims[key].user_attrs['pid']}"
            for number, key in enumerate(self._keys())
            if key in claims and claims[key].state == TrialState.RUNNING
        ]

    def widen(self, side: Side, num: int) -> int:
        """Want more settings beyond one side of the lr range.

        This object alone remembers it: a resumed search is widened again for the same reason, and then finds
        its settings told.

        Args:
            side: Where the best lr lies on the edge.
            num: Further lr points of a grid; for other samplers further settings, in an interval that grows
                by the decades such points would span.

        Returns:
            How many settings that adds; 0 where lr is not varied, or comes from a list.
        """
        if not self._has_lr_interval:
            return 0
        before = self.num_total
        if self._is_grid:
            self._offsets = widen_offsets(self._offsets, side, num)
        else:
            wider = widen_interval(self._space[LR], side, num / self._search.per_decade)
            self._space = self._space | {LR: wider}
            self._num_widened += num
        return self.num_total - before

    @property
    def _is_grid(self) -> bool:
        return self._search.sampler == "grid"

    @property
    def _has_lr_interval(self) -> bool:
        return LR in self._space and self._space[LR].choices is None

    def _grid(self) -> list[Params]:
        return make_grid(self._space, self._search, self._default, self._offsets)

    def _keys(self) -> list[str]:
        """Return what tells wanted settings apart: the point of a grid, a sampler's number."""
        if self._is_grid:
            return [json.dumps(point, sort_keys=True) for point in self._grid()]
        # Where nothing is varied there is one setting.
        return [str(n) for n in range(self._search.trials + self._num_widened if self._space else 1)]

    def _claim(
        self, number: int, trials: Sequence[FrozenTrial], claims: Mapping[str, FrozenTrial]
    ) -> Params | None:
        """Claim a setting, or return None when another process was first."""
        key = self._keys()[number]
        # What a dead process had claimed is tried as it was: today's history would propose something else.
        before = next((trial for trial in trials if trial.user_attrs.get("setting") == key), None)
        if before is not None:
            params, distributions = before.params, before.distributions
        elif self._is_grid:
            params, distributions = encode(self.space, self._default, self._grid()[number])
        else:
            history = [claims[other] for other in self._keys() if other in claims]
            setting = propose(self._search.sampler, self._space, self._default, number, history)
            params, distributions = encode(self._space, self._default, setting)
        mine = self._claims.make(key, params, distributions)
        if mine is None:
            return None
        self._open[number] = mine.number
        return decode(self._space, mine.params)
