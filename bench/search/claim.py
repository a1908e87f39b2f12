"""Which process tries which setting: decided without a lock, on any storage, also when processes die."""

from __future__ import annotations

import contextlib
import os
import uuid
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from bench import owner


class Claims:
    """The claims of one search.

    A claim is one atomic record: an Optuna trial that has its parameters and its owner from the start. The
    storage numbers trials in one order for all processes, and none ever before one that was seen. Of two
    claims on one setting the earlier counts; the later is withdrawn (FAIL) by whoever made it.
    """

    def __init__(self, study: optuna.Study) -> None:
        self._study = study
        self._token = uuid.uuid4().hex
        _LIVING.add(self)

    def read(self) -> list[FrozenTrial]:
        """Return all claims ever made, in their order."""
        return sorted(self._study.get_trials(deepcopy=False), key=lambda trial: trial.number)

    def make(
        self, setting: str, params: dict[str, Any], distributions: Mapping[str, BaseDistribution]
    ) -> FrozenTrial | None:
        """Claim a setting, or return None when another process was first."""
        claim = uuid.uuid4().hex
        attrs = {"setting": setting, "claim": claim, "searcher": self._token, **owner.myself()}
        self._study.add_trial(
            optuna.create_trial(
                state=TrialState.RUNNING, params=params, distributions=dict(distributions), user_attrs=attrs
            )
        )
        now = self.read()
        mine = next(trial for trial in now if trial.user_attrs.get("claim") == claim)
        if counting(now)[setting].number == mine.number:
            return mine
        self._end(mine.number, TrialState.FAIL)
        return None

    def answer(self, number: int, loss: float) -> None:
        """Record what came of a claim, by its number; nothing if it was taken over meanwhile."""
        self._end(number, TrialState.COMPLETE, loss)

    def withdraw_dead(self, trials: Sequence[FrozenTrial]) -> bool:
        """Withdraw what this host's dead processes claim, and searches that were dropped; was there any?"""
        tokens = {claims._token for claims in _LIVING}
        has_withdrawn = False
        for trial in trials:
            attrs = trial.user_attrs
            if trial.state != TrialState.RUNNING or not owner.is_here(attrs):
                continue
            is_dropped = attrs["pid"] == os.getpid() and attrs["searcher"] not in tokens
            if is_dropped or not owner.is_alive(attrs):
                self._end(trial.number, TrialState.FAIL)
                has_withdrawn = True
        return has_withdrawn

    def _end(self, number: int, state: TrialState, value: float | None = None) -> None:
        # Someone else may have ended it first, who is then right.
        with contextlib.suppress(optuna.exceptions.UpdateFinishedTrialError):
            self._study.tell(number, value, state=state, skip_if_finished=True)


def counting(trials: Sequence[FrozenTrial]) -> dict[str, FrozenTrial]:
    """Return the claim that counts for each setting: the earliest that was not withdrawn."""
    found: dict[str, FrozenTrial] = {}
    for trial in trials:
        if trial.state in (TrialState.RUNNING, TrialState.COMPLETE) and "setting" in trial.user_attrs:
            found.setdefault(trial.user_attrs["setting"], trial)
    return found


# Those of this process that still exist: a claim of one that was dropped has nobody who would answer it.
_LIVING: weakref.WeakSet[Claims] = weakref.WeakSet()
