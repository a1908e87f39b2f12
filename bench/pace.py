"""How long a run takes on either engine here, tried out over a few steps of the runs in question."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

import torch

from bench.cause import explain
from bench.cost import Pace
from bench.engine.member import Member
from bench.engine.population import Population
from bench.engine.single import Single
from bench.spec import Run

# A step that takes longer leaves a device little to gain, and trying it out would cost as much as it saves.
HEAVY_S = 0.05
_ROUNDS = 5
_STEPS = 3


def measure(runs: Sequence[Run]) -> Pace:
    """Return the pace of runs that `bench.together` lets train together, by the clock on the wall.

    Both engines take turns, so that what else the machine does meets both.
    """
    run = runs[0]
    single = Single(run)
    steps = _Steps(run)
    steps.time(single)
    eager_s = steps.time(single)
    if eager_s > HEAVY_S:
        detail = f"a step takes {eager_s * 1e3:.0f} ms"
        return Pace(eager_s=eager_s * run.budget.steps, population_s=None, num=0, detail=detail)
    try:
        members = [Member(one) for one in runs]
        population = Population(members, members[0].data)
        steps.time(population)
        rounds = [(steps.time(single), steps.time(population)) for _ in range(_ROUNDS)]
        evaluations = [(_time(single), _time(population)) for _ in range(2)]
    except Exception as error:
        # What is asked is whether it works.
        detail = explain(error)[1]
        return Pace(eager_s=eager_s * run.budget.steps, population_s=None, num=0, detail=detail)
    whole = []
    for engine in (0, 1):
        step_s = statistics.median(each[engine] for each in rounds)
        evaluation_s = min(each[engine] for each in evaluations)
        whole.append(run.budget.steps * step_s + (run.budget.evaluations + 2) * evaluation_s)
    return Pace(eager_s=whole[0], population_s=whole[1] / len(runs), num=len(runs))


class _Steps:
    """Steps of runs that go nowhere: the first ones, over and over."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def time(self, engine: Single | Population) -> float:
        """Return the seconds of one step, the mean over a few."""
        engine.set_mode(is_training=True)

        def take() -> None:
            for step in range(_STEPS):
                engine.step(min(step, self._run.budget.steps - 1))

        return _measure(take, self._run.device) / _STEPS


def _time(engine: Single | Population) -> float:
    run = engine.run if isinstance(engine, Single) else engine.members[0].run
    engine.set_mode(is_training=False)
    return _measure(lambda: engine.validate("report"), run.device)


def _measure(work: Callable[[], object], device: str) -> float:
    _wait(device)
    start = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - start


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
    elif device == "mps":
        torch.mps.synchronize()
