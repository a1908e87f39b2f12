"""One study while it runs, and the running of what it asks for, unless the store can answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from bench import machine as machines
from bench.answer import find_answer
from bench.choice import Choice
from bench.claims import Claims
from bench.dispatch import Dispatch
from bench.ending import Standing, describe_end
from bench.errors import SpecError, Unsupported
from bench.estimate import Timings
from bench.identity import run_id
from bench.messages import Found
from bench.metering import meter
from bench.progress import Progress, Say, Show
from bench.resolve import name_precision
from bench.result import SETTLED, Result, StudyRecord
from bench.spec import Metering, Run, Study
from bench.stopping import Stop
from bench.store import Store
from bench.study import Answer, Batch, Interrupted, Job, Outcome, Request, job_id, study
from bench.wanted import Wanted, name_cell
from bench.workers import Workers


@dataclass(frozen=True)
class Means:
    """What a sweep runs with."""

    # Train the runs.
    workers: Workers
    # Keep others that share the store from the same jobs.
    claims: Claims
    # Whether to end early.
    stop: Stop
    # Shows a line that stays.
    say: Say
    # Replaces the lines at a terminal's bottom, if there is one.
    show: Show | None
    # Whether each trial of a search has a line, too.
    is_verbose: bool


class Underway:
    """One study while it runs."""

    def __init__(self, spec: Study, store: Store, device: Found, workers: Workers) -> None:
        if spec.data.sha256 is None:
            # Its results must not answer for other files of the same name.
            sha256 = workers.inquiry.hash_data(spec.data)
            spec = msgspec.structs.replace(spec, data=msgspec.structs.replace(spec.data, sha256=sha256))
        precision = name_precision(spec.precision, device.kind)
        self.spec = spec = msgspec.structs.replace(spec, precision=precision)
        self.store = store
        self.machine = machines.describe(device.kind, spec.threads, device.name)
        self.outcomes: dict[str, Outcome] = {}
        self.cached: set[str] = set()
        self.record: StudyRecord | None = None
        self._generator = study(spec, self.machine, store.root / "studies")
        self.request: Request | None = next(self._generator)

    def answer_from_store(self) -> None:
        for job in self.pending():
            stored = find_answer(self.store, job, self.machine, self.spec.retry)
            if stored is not None:
                self.outcomes[stored.id] = stored
                self.cached.add(stored.id)

    def pending(self) -> list[Job]:
        jobs = self.request.jobs if isinstance(self.request, Batch) else ()
        return [job for job in jobs if job_id(job) not in self.outcomes]

    def advance(self, answer: Answer) -> None:
        """Answer the study's request; it either makes its next one or ends."""
        try:
            self.request = self._generator.send(answer)
        except StopIteration as stop:
            self.request, self.record = None, stop.value

    def interrupt(self) -> None:
        if self.record is None:
            try:
                self._generator.throw(Interrupted(self.outcomes))
            except StopIteration as stop:
                self.request, self.record = None, stop.value


def execute(batches: Sequence[Underway], means: Means, timings: Timings | None, standing: Standing) -> None:
    """Run every pending job and publish its outcome: trainings side by side, then meters one by one.

    Args:
        batches: Studies that wait for a batch.
        means: What the sweep runs with.
        timings: What the store has timed; None: nothing is pending.
        standing: Of the runs so far, each among the others.

    Raises:
        Stopped: It ended early; what came of the jobs until then is with their studies.
    """
    # Two studies may ask for the same job under different labels.
    asking: dict[str, list[tuple[Underway, Job]]] = {}
    for one in batches:
        for job in one.pending():
            asking.setdefault(job_id(job), []).append((one, job))
    firsts = {key: some[0] for key, some in asking.items()}

    def settle(key: str, outcome: Outcome) -> None:
        for one, _ in asking[key]:
            one.outcomes[key] = outcome

    trainings = [(one, job) for one, job in firsts.values() if isinstance(job, Run)]
    if trainings:
        ended = [end for one in batches for end in one.outcomes.values() if isinstance(end, Result)]
        store = trainings[0][0].store
        choice = Choice(_list_planned(batches), store, means.workers, trainings[0][0].machine)
        wanted = [_want(one, job, choice) for one, job in trainings]
        dispatch = Dispatch(wanted, ended, store, means.workers, means.claims, means.stop, means.say)
        names = [_describe(one, job) for one, job in trainings]
        seconds = [timings.seconds(job) if timings else None for _, job in trainings]
        steps = [job.budget.steps for _, job in trainings]
        with Progress(means.say, means.show, names, seconds, means.workers.num, steps) as progress:
            means.workers.tell = progress.tell
            for number, result in dispatch.train():
                settle(result.id, result)
                one = trainings[number][0]
                line = _ending(one, result, standing)
                is_said = means.is_verbose or result.status != "finished" or not _is_trial(one)
                progress.end(number, result.status, f"{names[number]}  {line}", is_said=is_said)
    means.stop.check()
    meterings = [(one, job) for one, job in firsts.values() if not isinstance(job, Run)]
    if meterings:
        if meterings[0][0].machine.device != "cpu":
            means.workers.rest()
        means.say(f"measuring what a step costs, {len(meterings)} cell{'s' * (len(meterings) != 1)}")
        cells = [(job, one.machine, _find_bad_end(one, job)) for one, job in meterings]
        timeout_s = meterings[0][0].spec.place.timeout_s
        for cost in meter(cells, meterings[0][0].store, means.claims, means.stop, timeout_s, means.say):
            settle(cost.id, cost)
    means.stop.check()


def _list_planned(batches: Sequence[Underway]) -> list[tuple[Study, Run]]:
    jobs = [(one.spec, job) for one in batches if isinstance(one.request, Batch) for job in one.request.jobs]
    return [(spec, job) for spec, job in jobs if isinstance(job, Run)]


def _want(one: Underway, run: Run, choice: Choice) -> Wanted:
    is_anew = "killed" in one.spec.retry
    num_killed = 0 if is_anew else one.store.count_attempts(run_id(run), one.machine, "killed")
    shape = choice.find_shape(one.spec, run)
    return Wanted(run, one.machine, one.spec.place.checkpoint_s, num_killed, shape)


def _find_bad_end(one: Underway, metering: Metering) -> Result | None:
    """Return how a cell's runs ended, where none came through: it would end its measurement as well."""
    cell = name_cell(metering.run)
    ends = [end for end in one.outcomes.values() if isinstance(end, Result) and name_cell(end.run) == cell]
    if any(end.status in SETTLED for end in ends):
        return None
    return next((end for end in ends if end.status in ("failed", "oom", "timeout", "killed")), None)


def check(batches: Sequence[Underway], workers: Workers) -> None:
    """Answer from the store what it has; refuse, before anything runs, what could not start."""
    for one in batches:
        one.answer_from_store()
    seen: dict[bytes, Run] = {}
    for job in (job for one in batches for job in one.pending()):
        run = job if isinstance(job, Run) else job.run
        seen.setdefault(msgspec.json.encode((run.data, run.model, run.optimizer)), run)
    workers.inquiry.check(list(seen.values()))


def _describe(one: Underway, run: Run) -> str:
    star = "*" if one.spec.is_workload_modified else ""
    return f"{one.spec.workload.name}{star} {run.optimizer.name} lr={run.optimizer.lr:g} seed={run.seed}"


def _is_trial(one: Underway) -> bool:
    return isinstance(one.request, Batch) and one.request.stage != "evaluate"


def _ending(one: Underway, result: Result, standing: Standing) -> str:
    line = describe_end(result, standing.place(result, one.spec.workload.effect))
    folder = one.store.attempt_folder(result.id, result.machine)
    is_told = result.artifacts and result.status not in SETTLED and folder is not None
    return f"{line}; see {folder}" if is_told else line


def find_device(studies: Sequence[Study]) -> Found:
    """Return the device that the studies of a sweep run on.

    Raises:
        SpecError: This machine has none of that kind.
    """
    requested = studies[0].device
    try:
        if requested != "cpu" and machines.may_have_accelerator():
            with Workers() as workers:
                return workers.inquiry.find_device(requested)
        kind = machines.resolve_device(requested)
        return Found(kind, machines.name_device(kind), 0)
    except Unsupported as error:
        raise SpecError(str(error)) from None
