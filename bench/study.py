"""One cell from question to answer: a generator that asks for jobs and votes, and receives the outcomes."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from bench.identity import cost_id, run_id
from bench.kinds import SCHEMA
from bench.resolve import resolve
from bench.result import SETTLED, Cost, Machine, Result, SearchRecord, StudyRecord
from bench.search.tuning import Tuning
from bench.seeds import evaluation_seeds
from bench.spec import Metering, Run, Study

Job = Run | Metering
Outcome = Result | Cost
# Outcomes by the id of their job.
Outcomes = Mapping[str, Outcome]

# Seeds of the first look, where their number is left to the verdicts.
FIRST_LOOK = 5


@dataclass(frozen=True)
class Batch:
    """Jobs that may run in any order; every outcome so far is sent back."""

    stage: str
    jobs: Sequence[Job]


@dataclass(frozen=True)
class Preview:
    """A first answer; nothing is sent back."""

    record: StudyRecord


@dataclass(frozen=True)
class WidenVote:
    """Whether this study's best lr is at an edge; sent back is whether the arena widens its ranges."""

    is_at_edge: bool
    round: int


@dataclass(frozen=True)
class SeedsVote:
    """What the evaluation seeds gave; sent back is how many the arena runs in all."""

    # By seed; a run that did not finish is absent.
    losses: Mapping[int, float]
    # Standard deviation that the choice of the setting adds.
    selection_sd: float
    num: int


Request = Batch | Preview | WidenVote | SeedsVote
Answer = Outcomes | bool | int | None


class Interrupted(Exception):
    """Thrown into a study that has to end with what it has.

    Args:
        outcomes: All so far, those of the unfinished batch included.
    """

    def __init__(self, outcomes: Outcomes) -> None:
        super().__init__()
        self.outcomes = outcomes


def study(spec: Study, machine: Machine, studies_folder: Path) -> Generator[Request, Answer, StudyRecord]:
    """Answer one study: search a setting, evaluate it on fresh seeds, meter its step.

    Args:
        spec: What is asked.
        machine: Where it runs; its device is what `spec.device` means here.
        studies_folder: Where searches keep their journals.

    Yields:
        Requests, each answered as its class says.

    Returns:
        The study's record, naming the ids that answer it.
    """
    progress = _Progress(spec, machine)
    tuning = Tuning(spec, machine, studies_folder)
    try:
        if tuning.space:
            yield from _search(progress, tuning)
        yield from _evaluate(progress, first_count(spec), is_metered=spec.meter.is_on)
        while spec.seeds.num == "auto":
            losses = progress.evaluation_losses()
            vote = SeedsVote(losses, tuning.selection_sd(losses), len(progress.runs))
            num = yield vote
            assert isinstance(num, int) and num >= vote.num, (num, vote.num)
            if num == vote.num:
                break
            yield from _evaluate(progress, num, is_metered=False)
    except Interrupted as interrupted:
        progress.outcomes.update(interrupted.outcomes)
    return progress.record()


def first_count(spec: Study) -> int:
    """Return how many evaluation seeds a study starts with."""
    return min(FIRST_LOOK, spec.seeds.limit) if spec.seeds.num == "auto" else spec.seeds.num


def job_id(job: Job) -> str:
    """Return the id a job's outcome is stored under."""
    return run_id(job) if isinstance(job, Run) else cost_id(job)


class _Progress:
    """What a study has so far."""

    def __init__(self, spec: Study, machine: Machine) -> None:
        self.spec = spec
        self.machine = machine
        # The study at its chosen setting.
        self.chosen = spec
        self.search: SearchRecord | None = None
        self.runs: list[Run] = []
        self.metering: Metering | None = None
        self.outcomes: dict[str, Outcome] = {}

    def evaluation_losses(self) -> dict[int, float]:
        found = ((run.seed, self.outcomes.get(run_id(run))) for run in self.runs)
        return {
            seed: result.val_loss
            for seed, result in found
            if isinstance(result, Result) and result.val_loss is not None
        }

    def record(self) -> StudyRecord:
        unsettled = {}
        for run in self.runs:
            result = self.outcomes.get(run_id(run))
            if isinstance(result, Result) and result.status not in SETTLED:
                unsettled[result.id] = result
        cost = self.outcomes.get(cost_id(self.metering)) if self.metering else None
        is_metered = isinstance(cost, Cost) and cost.status == "finished"
        return StudyRecord(
            schema=SCHEMA,
            study=self.spec,
            machine=self.machine,
            runs=tuple(self.runs),
            search=self.search,
            metering_id=cost.id if cost and is_metered else None,
            metering_detail=f"{cost.status}: {cost.detail}"
            if isinstance(cost, Cost) and not is_metered
            else None,
            unsettled=unsettled,
        )


def _run_batch(progress: _Progress, stage: str, jobs: Sequence[Job]) -> Generator[Request, Answer, None]:
    outcomes = yield Batch(stage, jobs)
    assert isinstance(outcomes, Mapping), outcomes
    progress.outcomes.update(outcomes)


def _evaluate(progress: _Progress, num: int, *, is_metered: bool) -> Generator[Request, Answer, None]:
    progress.runs = [
        resolve(progress.chosen, seed, progress.machine.device) for seed in evaluation_seeds(num)
    ]
    jobs: list[Job] = [*progress.runs]
    if is_metered:
        progress.metering = Metering(run=_without_choice(progress.runs[0]), meter=progress.spec.meter)
        jobs.append(progress.metering)
    yield from _run_batch(progress, "evaluate", jobs)


def _without_choice(run: Run) -> Run:
    """Return a run at its optimizer's declared lr: a step costs the same at any."""
    optimizer = msgspec.structs.replace(run.optimizer, lr=run.optimizer.search.lr.default)
    return msgspec.structs.replace(run, optimizer=optimizer)


def _search(progress: _Progress, tuning: Tuning) -> Generator[Request, Answer, None]:
    """First pass and a first answer from it; then wider ranges where needed, and more seeds for the best."""
    yield from _try_settings(progress, tuning)
    progress.chosen, progress.search = tuning.choose(progress.outcomes), tuning.record(is_final=False)
    if progress.spec.search.is_previewed:
        yield from _evaluate(progress, first_count(progress.spec), is_metered=progress.spec.meter.is_on)
        yield Preview(progress.record())
    while progress.spec.search.widen:
        vote = WidenVote(tuning.edge() is not None, tuning.num_widened)
        if not (yield vote):
            break
        tuning.widen()
        yield from _try_settings(progress, tuning)
    yield from _run_batch(progress, "confirm", tuning.confirmations())
    progress.chosen, progress.search = tuning.choose(progress.outcomes), tuning.record(is_final=True)


def _try_settings(progress: _Progress, tuning: Tuning) -> Generator[Request, Answer, None]:
    while jobs := tuning.propose():
        yield from _run_batch(progress, "search", jobs)
        tuning.tell(progress.outcomes)
    # What an earlier command or another process tried is answered by the store.
    yield from _run_batch(progress, "search", tuning.replays())
    tuning.end_pass(progress.outcomes)
