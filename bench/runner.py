"""Many studies on this machine: refuse what can't start, answer from the store, run the rest."""

from __future__ import annotations

import datetime
import os
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

import msgspec

from bench import machine as machines
from bench.errors import SpecError, Unsupported
from bench.result import Machine, Manifest, Result, StudyRecord
from bench.spec import SCHEMA, Run, Study
from bench.store import Store
from bench.study import Job, Outcome, Outcomes, job_id, record, study


class Ended(msgspec.Struct, frozen=True):
    """How a sweep ended."""

    folder: Path
    # Statuses of all its runs, in order.
    statuses: tuple[str, ...]
    is_interrupted: bool


class _Underway:
    """One study while it runs."""

    def __init__(self, spec: Study, store: Store) -> None:
        try:
            device = machines.resolve_device(spec.device)
        except Unsupported as error:
            raise SpecError(str(error)) from None
        self.spec = spec
        self.store = store
        self.machine = machines.describe(device, spec.threads)
        self.generator: Generator[Sequence[Job], Outcomes, StudyRecord] = study(spec, self.machine)
        self.batch: Sequence[Job] = next(self.generator)
        self.jobs: list[Job] = [*self.batch]
        self.outcomes: dict[str, Outcome] = {}
        self.num_cached = 0
        self.record: StudyRecord | None = None

    def answer_from_store(self) -> None:
        for job in self.batch:
            stored = _find(self.store, job, self.machine, self.spec.retry)
            if stored is not None:
                self.outcomes[stored.id] = stored
                self.num_cached += isinstance(stored, Result)

    def pending(self) -> list[Job]:
        return [job for job in self.batch if job_id(job) not in self.outcomes]

    def advance(self) -> None:
        """Send the outcomes back; the study either yields its next batch or ends."""
        try:
            self.batch = self.generator.send(self.outcomes)
            self.jobs.extend(self.batch)
        except StopIteration as stop:
            self.batch = ()
            self.record = msgspec.structs.replace(stop.value, num_cached=self.num_cached)

    def close(self) -> StudyRecord:
        return self.record or record(self.spec, self.machine, self.jobs, self.outcomes, self.num_cached)


def run(studies: Sequence[Study], name: str, command: str, say: Callable[[str], None]) -> Ended:
    """Run the studies of one sweep and write its folder.

    Args:
        studies: All of one sweep; they share a results folder.
        name: The sweep's folder name.
        command: What was typed, for the report.
        say: Shows one line of progress.

    Returns:
        Where the sweep's folder is, and how its runs ended.

    Raises:
        SpecError, BuildError, DataError: Something can't start; nothing has run.
        StoreError: The store can't be read or written.
    """
    started_at, start = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"), time.monotonic()
    store = Store(Path(studies[0].place.results))
    underway = [_Underway(spec, store) for spec in studies]
    is_interrupted = False
    try:
        while any(one.batch for one in underway):
            for one in underway:
                one.answer_from_store()
            _check([job for one in underway for job in one.pending()])
            if studies[0].do == "plan":
                say(_plan_line(underway))
                return Ended(store.sweep_folder(name), (), False)
            say(_plan_line(underway))
            execute(underway, say)
            for one in underway:
                if one.batch:
                    one.advance()
    except KeyboardInterrupt:
        is_interrupted = True
        say("interrupted: what is finished is kept; the same command continues")
    records = [one.close() for one in underway]
    manifest = Manifest(
        schema=SCHEMA,
        name=name,
        command=command,
        started_at=started_at,
        ended_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        wall_s=time.monotonic() - start,
        is_interrupted=is_interrupted,
        studies=tuple(f"{number}.json" for number in range(len(records))),
        machine=underway[0].machine,
    )
    folder = store.write_sweep(manifest, dict(zip(manifest.studies, records, strict=True)))
    _point_latest(folder)
    statuses = tuple(
        outcome.status
        for one in underway
        for job in one.jobs
        if isinstance(job, Run) and (outcome := one.outcomes.get(job_id(job))) is not None
    )
    return Ended(folder, statuses, is_interrupted)


def execute(underway: Sequence[_Underway], say: Callable[[str], None]) -> None:
    """Run every pending job in this process and publish its outcome; trainings first, then meters."""
    pending = [(one, job) for one in underway for job in one.pending()]
    pending.sort(key=lambda pair: not isinstance(pair[1], Run))
    num_runs = sum(isinstance(job, Run) for _, job in pending)
    done: dict[str, Outcome] = {}
    for number, (one, job) in enumerate(pending, start=1):
        # torch is imported here at the latest, and not at all when the store answers everything.
        from bench import train
        from bench.meter.step import measure

        key = job_id(job)
        if key in done:
            # Two studies may ask for the same run under different labels.
            one.outcomes[key] = done[key]
            continue
        if isinstance(job, Run):
            result, files = train.train(job, one.machine)
            done[key] = one.store.publish(result, files)
            say(f"[{number:>3}/{num_runs}] {_describe(one.spec, job)}  {_ending(result)}")
        else:
            if number == num_runs + 1:
                say(f"measuring what a step costs, {len(pending) - num_runs} cells")
            cost = measure(job, one.machine)
            done[key] = one.store.publish_cost(cost) if cost.status == "finished" else cost
        one.outcomes[key] = done[key]


def _find(store: Store, job: Job, machine: Machine, retry: Sequence[str]) -> Outcome | None:
    key = job_id(job)
    if not isinstance(job, Run):
        return store.find_cost(key, machine)
    settled = store.find(key, machine)
    if settled is not None:
        return settled
    attempt = store.last_attempt(key, machine)
    # Of the unsettled ends only these would end the same way again.
    is_answer = (
        attempt is not None and attempt.status in ("failed", "oom", "timeout") and attempt.status not in retry
    )
    return attempt if is_answer else None


def _check(jobs: Sequence[Job]) -> None:
    """Refuse, before anything runs, what could not start: import paths, arguments, data."""
    if not jobs:
        return
    from bench import build

    seen = set()
    for job in jobs:
        spec = job if isinstance(job, Run) else job.run
        key = msgspec.json.encode((spec.data, spec.model, spec.optimizer))
        if key not in seen:
            seen.add(key)
            build.check(spec)
            build.load_data(spec.data, "cpu")


def _plan_line(underway: Sequence[_Underway]) -> str:
    num_runs = sum(isinstance(job, Run) for one in underway for job in one.jobs)
    num_cached = sum(one.num_cached for one in underway)
    return f"{num_runs} runs in {len(underway)} studies; {num_cached} cached"


def _describe(spec: Study, run: Run) -> str:
    star = "*" if spec.is_workload_modified else ""
    return f"{spec.workload.name}{star} {run.optimizer.name} lr={run.optimizer.lr:g} seed={run.seed}"


def _ending(result: Result) -> str:
    if result.status == "finished":
        return f"val loss {result.val_loss:.4g}  {result.train_s:.1f} s"
    return f"{result.status}: {result.detail}"


def _point_latest(folder: Path) -> None:
    link = folder.parent / "latest"
    temporary = folder.parent / f".latest.{os.getpid()}"
    try:
        temporary.symlink_to(folder.name)
        os.replace(temporary, link)
    except OSError:
        # A file system without links only lacks the shortcut.
        temporary.unlink(missing_ok=True)
