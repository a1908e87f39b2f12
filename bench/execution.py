"""One study while it runs, and the running of what it asks for, unless the store can answer."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import msgspec

from bench import machine as machines
from bench.errors import SpecError, Unsupported
from bench.estimate import Timings
from bench.progress import Progress, Say, Show
from bench.resolve import name_precision
from bench.result import Machine, Result, StudyRecord
from bench.spec import Run, Study
from bench.store import Store
from bench.study import Answer, Batch, Interrupted, Job, Outcome, Request, job_id, study
from bench.workers import Workers


class Underway:
    """One study while it runs."""

    def __init__(self, spec: Study, store: Store, *, is_alone: bool) -> None:
        try:
            device = machines.resolve_device(spec.device)
        except Unsupported as error:
            raise SpecError(str(error)) from None
        precision = name_precision(spec.precision, device)
        self.spec = spec = msgspec.structs.replace(_name_data(spec), precision=precision)
        self.store = store
        self.machine = machines.describe(device, spec.threads)
        self.outcomes: dict[str, Outcome] = {}
        self.cached: set[str] = set()
        self.record: StudyRecord | None = None
        self._generator = study(spec, self.machine, store.root / "studies", is_alone=is_alone)
        self.request: Request | None = next(self._generator)

    def answer_from_store(self) -> None:
        for job in self.pending():
            stored = _find(self.store, job, self.machine, self.spec.retry)
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
                self._generator.throw(Interrupted())
            except StopIteration as stop:
                self.request, self.record = None, stop.value


def _name_data(spec: Study) -> Study:
    """Return a study whose data has a hash: its results must not answer for other files of the same name."""
    if spec.data.sha256 is not None:
        return spec
    from bench import build

    with contextlib.suppress(Unsupported):
        sha256 = build.load_data(spec.data, "cpu").sha256
        return msgspec.structs.replace(spec, data=msgspec.structs.replace(spec.data, sha256=sha256))
    return spec


def execute(
    batches: Sequence[Underway], workers: Workers, timings: Timings | None, say: Say, show: Show | None
) -> None:
    """Run every pending job and publish its outcome: trainings side by side, then meters one by one.

    Args:
        batches: Studies that wait for a batch.
        workers: Train the runs.
        timings: What the store has timed; None: nothing is pending.
        say: Shows a line of progress.
        show: Replaces the lines at a terminal's bottom, if there is one.
    """
    pending = [(one, job) for one in batches for job in one.pending()]
    trainings = [(one, job) for one, job in pending if isinstance(job, Run)]
    meterings = [(one, job) for one, job in pending if not isinstance(job, Run)]
    # Two studies may ask for the same run under different labels.
    done: dict[str, Outcome] = {}
    if pending:
        # torch is imported here at the latest, and not at all when the store answers everything.
        from bench.meter.process import measure_all, start_server

        if meterings:
            start_server()
        unique = list({job_id(job): (one, job) for one, job in trainings}.values())
        names = [_describe(one, job) for one, job in unique]
        seconds = [timings.seconds(job) if timings else None for _, job in unique]
        with Progress(say, show, names, seconds, workers.num) as progress:
            for number, (result, files) in workers.train([(job, one.machine) for one, job in unique]):
                one, job = unique[number]
                done[job_id(job)] = one.store.publish(result, files)
                progress.end(number, result.status, f"{names[number]}  {_ending(result)}")
        if meterings:
            say(f"measuring what a step costs, {len(meterings)} cell{'s' * (len(meterings) != 1)}")
        cells = list({job_id(metering): (one, metering) for one, metering in meterings}.values())
        costs = measure_all([(metering, one.machine) for one, metering in cells])
        for (one, metering), cost in zip(cells, costs, strict=True):
            done[job_id(metering)] = one.store.publish_cost(cost) if cost.status == "finished" else cost
    for one, answered in pending:
        one.outcomes[job_id(answered)] = done[job_id(answered)]


def _find(store: Store, job: Job, machine: Machine, retry: Sequence[str]) -> Outcome | None:
    key = job_id(job)
    if not isinstance(job, Run):
        return store.find_cost(key, machine)
    settled = store.find(key, machine)
    if settled is not None:
        return settled
    attempt = store.last_attempt(key, machine)
    if attempt is None or attempt.status in retry:
        return None
    # Of the unsettled ends only these would end the same way again. What is unsupported may be there by now
    # (a package was installed), and costs nothing to find out.
    return attempt if attempt.status in ("failed", "oom", "timeout") else None


def check(batches: Sequence[Underway]) -> None:
    """Answer from the store what it has; refuse, before anything runs, what could not start."""
    for one in batches:
        one.answer_from_store()
    seen = set()
    for job in (job for one in batches for job in one.pending()):
        from bench import build

        spec = job if isinstance(job, Run) else job.run
        key = msgspec.json.encode((spec.data, spec.model, spec.optimizer))
        if key not in seen:
            seen.add(key)
            build.check(spec)
            with contextlib.suppress(Unsupported):
                # Data that is not there is a row that says so.
                build.load_data(spec.data, "cpu")


def _describe(one: Underway, run: Run) -> str:
    star = "*" if one.spec.is_workload_modified else ""
    return f"{one.spec.workload.name}{star} {run.optimizer.name} lr={run.optimizer.lr:g} seed={run.seed}"


def _ending(result: Result) -> str:
    if result.status == "finished":
        return f"val loss {result.val_loss:.4g}  {result.train_s:.1f} s"
    return f"{result.status}: {result.detail}"
