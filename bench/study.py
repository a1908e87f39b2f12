"""One cell from question to answer: a generator that yields batches of jobs and receives their outcomes."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence

import msgspec

from bench.identity import cost_id, run_id
from bench.result import SETTLED, Cost, Machine, Result, StudyRecord
from bench.seeds import evaluation_seeds
from bench.sources import digest_sources
from bench.spec import SCHEMA, Metering, Run, Study

Job = Run | Metering
Outcome = Result | Cost
# Outcomes by the id of their job.
Outcomes = Mapping[str, Outcome]


def study(spec: Study, machine: Machine) -> Generator[Sequence[Job], Outcomes, StudyRecord]:
    """Answer one study: evaluate the cell on its seeds, and meter its step.

    Args:
        spec: What is asked.
        machine: Where it runs; its device is what `spec.device` means here.

    Yields:
        Jobs that may run in any order; every outcome so far is sent back.

    Returns:
        The study's record, naming the ids that answer it.
    """
    jobs = plan(spec, machine)
    outcomes = yield jobs
    return record(spec, machine, jobs, outcomes)


def plan(spec: Study, machine: Machine) -> list[Job]:
    """Return the jobs of a study: a run per evaluation seed, then the metering of its step."""
    runs = [resolve(spec, seed, machine.device) for seed in evaluation_seeds(spec.seeds)]
    return [*runs, Metering(run=runs[0], meter=spec.meter)] if spec.meter.is_on else [*runs]


def resolve(spec: Study, seed: int, device: str) -> Run:
    """Return one run of a study with nothing left open.

    `lr: auto` without a search is the workload's lr for the optimizer, else its declared default.
    """
    optimizer = spec.optimizer
    if optimizer.lr == "auto":
        lr = spec.workload.lr.get(optimizer.name, optimizer.search.lr.default)
        optimizer = msgspec.structs.replace(optimizer, lr=lr)
    return Run(
        data=spec.data,
        model=spec.model,
        optimizer=optimizer,
        schedule=spec.schedule,
        precision=spec.precision,
        budget=spec.budget,
        clip_norm=spec.clip_norm,
        device=device,  # type: ignore[arg-type]
        threads=spec.threads,
        seed=seed,
        sources=digest_sources([spec.data.target, spec.model.target, optimizer.target]),
    )


def job_id(job: Job) -> str:
    """Return the id a job's outcome is stored under."""
    return run_id(job) if isinstance(job, Run) else cost_id(job)


def record(
    spec: Study, machine: Machine, jobs: Sequence[Job], outcomes: Outcomes, num_cached: int = 0
) -> StudyRecord:
    """Return what a sweep's folder keeps of a study, finished or not."""
    runs = tuple(job for job in jobs if isinstance(job, Run))
    unsettled = {}
    metering_id = metering_detail = None
    for job in jobs:
        outcome = outcomes.get(job_id(job))
        if isinstance(outcome, Result) and outcome.status not in SETTLED:
            unsettled[outcome.id] = outcome
        elif isinstance(outcome, Cost) and outcome.status == "finished":
            metering_id = outcome.id
        elif isinstance(outcome, Cost):
            metering_detail = f"{outcome.status}: {outcome.detail}"
    return StudyRecord(
        schema=SCHEMA,
        study=spec,
        machine=machine,
        runs=runs,
        metering_id=metering_id,
        metering_detail=metering_detail,
        unsettled=unsettled,
        num_cached=num_cached,
    )
