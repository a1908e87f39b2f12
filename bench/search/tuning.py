"""One study's search as trainings: settings become runs on search seeds, and their losses choose one."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path

import msgspec

from bench.effort import RangeTest
from bench.identity import cell_id, run_id
from bench.resolve import resolve
from bench.result import Cost, Machine, Result, SearchRecord, TrialRecord
from bench.search import ranging
from bench.search import space as spaces
from bench.search.grid import Side, Trial, find_edge
from bench.search.searcher import Proposal, Searcher
from bench.seeds import SEARCH_BASE
from bench.spec import Run, Study
from bench.stats import selection_sd
from bench.store import environment


class Tuning:
    """The search of one study; a study that varies nothing has an empty space.

    Args:
        spec: What is asked.
        machine: Where it runs.
        folder: Where searches keep their journals.
    """

    def __init__(self, spec: Study, machine: Machine, folder: Path) -> None:
        self.spec = spec
        self.machine = machine
        self.space = spaces.make_space(spec)
        self.num_widened = 0
        self._open: list[Proposal] = []
        # Round by trial number: 0 in the first pass.
        self._rounds: dict[int, int] = {}
        self._confirmed: list[int] = []
        self._outcomes: dict[str, Result | Cost] = {}
        self._folder = folder
        self._tests = ranging.plan_tests(spec, machine, self.space)
        self._range_test: RangeTest | None = None
        if self.space and not self._tests:
            self._begin(spaces.declared(spec, self.space))

    def _begin(self, default: spaces.Params) -> None:
        name = self._name(default)
        journal = self._folder / f"{name}.journal"
        self._searcher = Searcher(self.space, self.spec.search, default, journal, name)

    def propose(self) -> list[Run]:
        """Return the runs of the next settings to try, range tests first; none when the pass is complete."""
        if self._tests:
            return list(self._tests)
        is_adaptive = self.spec.search.sampler in ("gp", "tpe")
        self._open = self._searcher.ask(1 if is_adaptive else self._searcher.num_total)
        # Others' settings, too: their runs are shared out one by one, so nobody waits while there is work.
        self._open += self._searcher.open_elsewhere()
        return [run for proposal in self._open for run in self._runs(proposal.params, self.spec.search.seeds)]

    def tell(self, outcomes: Mapping[str, Result | Cost]) -> None:
        """Record what came of the runs proposed last."""
        self._outcomes.update(outcomes)
        if self._tests:
            self._range_test = ranging.read_outcomes(self._tests, outcomes)
            default, self._tests = spaces.declared(self.spec, self.space), ()
            self.space, default = ranging.centre(self.space, default, self._range_test)
            self._begin(default)
            return
        for number, params in self._open:
            losses = self._losses(params, self.spec.search.seeds)
            self._searcher.tell(number, _mean(losses))

    def replays(self) -> list[Run]:
        """Return the runs of every setting of the pass, whoever tried it."""
        return [
            run
            for trial in self._searcher.trials()
            for run in self._runs(trial.params, self.spec.search.seeds)
        ]

    def end_pass(self, outcomes: Mapping[str, Result | Cost]) -> None:
        """Take up what came of every setting of the pass, whoever tried it."""
        self._outcomes.update(outcomes)
        for trial in self._searcher.trials():
            self._rounds.setdefault(trial.number, self.num_widened)

    def confirmations(self) -> list[Run]:
        """Return the runs that give the best settings of the first pass more search seeds."""
        ranked = sorted(self._ranked(), key=lambda trial: (_or_inf(trial.value), trial.number))
        finished = [trial for trial in ranked if trial.value is not None]
        chosen = finished[: self.spec.search.confirm]
        self._confirmed = [trial.number for trial in chosen]
        return [run for trial in chosen for run in self._runs(trial.params, self._num_confirm())]

    def choose(self, outcomes: Mapping[str, Result | Cost]) -> Study:
        """Return the study at the best setting so far; at the declared one when none finished."""
        self._outcomes.update(outcomes)
        best = self._best()
        params = spaces.declared(self.spec, self.space) if best is None else best.params
        return spaces.apply(self.spec, params)

    def edge(self) -> Side | None:
        """Return the side at which the best lr so far lies on the edge of its range."""
        is_grid = self.spec.search.sampler == "grid"
        return find_edge(self._ranked(), self._searcher.space, is_grid=is_grid)

    def widen(self) -> None:
        """Grow the lr range: at the edge the best lr lies on, else at the side it is nearer to."""
        self.num_widened += 1
        self._searcher.widen(self.edge() or self._nearer_side(), self.spec.search.widen_trials)

    def selection_sd(self, losses: Mapping[int, float]) -> float:
        """Return the standard deviation that the choice of a setting adds to the effect.

        Args:
            losses: Evaluation seed -> final loss of the chosen setting.
        """
        search = self.record(is_final=True) if self.space else None
        return selection_sd(search, losses, self.spec.workload.effect)

    def record(self, *, is_final: bool) -> SearchRecord:
        """Return what the report needs of the search."""
        best = self._best()
        trials = []
        for trial in self._searcher.trials():
            num = self._num_seeds(trial.number)
            runs = self._runs(trial.params, num)
            trials.append(
                TrialRecord(
                    number=trial.number,
                    params=trial.params,
                    runs=tuple(run_id(run) for run in runs),
                    losses=tuple(self._losses(trial.params, num)),
                    is_confirmed=trial.number in self._confirmed,
                    round=self._rounds[trial.number],
                )
            )
        return SearchRecord(
            sampler=self.spec.search.sampler,
            space=self._searcher.space,
            trials=tuple(trials),
            best=None if best is None else best.number,
            edge=self.edge(),
            num_widened=self.num_widened,
            is_final=is_final,
            range_test=self._range_test,
        )

    def _runs(self, params: spaces.Params, num_seeds: int) -> list[Run]:
        setting = spaces.apply(self.spec, params)
        return [resolve(setting, SEARCH_BASE + index, self.machine.device) for index in range(num_seeds)]

    def _losses(self, params: spaces.Params, num_seeds: int) -> list[float | None]:
        found = (self._outcomes.get(run_id(run)) for run in self._runs(params, num_seeds))
        return [result.search_loss if isinstance(result, Result) else None for result in found]

    def _num_confirm(self) -> int:
        return max(self.spec.search.seeds, self.spec.search.confirm_seeds)

    def _num_seeds(self, number: int) -> int:
        return self._num_confirm() if number in self._confirmed else self.spec.search.seeds

    def _ranked(self) -> list[Trial]:
        """Return all settings with their first-pass value: equal numbers of seeds, so equal luck."""
        seeds = self.spec.search.seeds
        return [
            trial._replace(value=_mean(self._losses(trial.params, seeds)))
            for trial in self._searcher.trials()
        ]

    def _best(self) -> Trial | None:
        """Return the best setting: among the confirmed ones, once there are any."""
        trials = self._ranked()
        if self._confirmed:
            num = self._num_confirm()
            trials = [
                trial._replace(value=_mean(self._losses(trial.params, num)))
                for trial in trials
                if trial.number in self._confirmed
            ]
        finished = [trial for trial in trials if trial.value is not None]
        return min(finished, key=lambda trial: (_or_inf(trial.value), trial.number), default=None)

    def _nearer_side(self) -> Side:
        best, trials = self._best(), self._searcher.trials()
        lrs = sorted(float(trial.params[spaces.LR]) for trial in trials if spaces.LR in trial.params)
        if best is None or not lrs:
            return "low"
        below = math.log(float(best.params[spaces.LR]) / lrs[0])
        return "low" if below < math.log(lrs[-1] / float(best.params[spaces.LR])) else "high"

    def _name(self, default: spaces.Params) -> str:
        """Return the search's own name: what is searched where, but not how long."""
        run = resolve(spaces.apply(self.spec, default), SEARCH_BASE, self.machine.device)
        search = self.spec.search
        parts = [
            cell_id(run),
            environment(self.machine),
            search.sampler,
            search.seeds,
            search.per_decade,
            msgspec.to_builtins(self.space),
        ]
        digest = hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:12]
        return f"{self.spec.workload.name}-{self.spec.optimizer.name}-{digest}"


def _mean(losses: list[float | None]) -> float | None:
    finished = [loss for loss in losses if loss is not None]
    return math.fsum(finished) / len(finished) if finished and len(finished) == len(losses) else None


def _or_inf(value: float | None) -> float:
    return math.inf if value is None else value
