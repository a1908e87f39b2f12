"""What a sweep is about to do, in one line before it does it: runs, what the store has, and the time."""

from __future__ import annotations

from collections.abc import Sequence

from bench.estimate import Timings
from bench.execution import Underway
from bench.progress import describe_s
from bench.spec import Run
from bench.study import Batch, first_count, job_id


def outline(batches: Sequence[Underway], timings: Timings | None, num_workers: int) -> str:
    """Return the line before a sweep's first batch.

    What comes after a search depends on what it finds, so its runs are said to be about so many.

    Args:
        batches: The sweep's studies, at their first batch, answered from the store where it can.
        timings: What the store has timed; None: nothing is pending.
        num_workers: Runs that train at once.
    """
    optimizers = len({one.spec.optimizer.name for one in batches})
    workloads = len({(one.spec.workload.name, one.spec.is_workload_modified) for one in batches})
    asked = [(one, _runs(one)) for one in batches]
    num_first = sum(len(runs) for _, runs in asked)
    num_cached = sum(job_id(run) in one.cached for one, runs in asked for run in runs)
    later = [_later(one) for one in batches]
    more, confirm, evaluate = (sum(each[place] for each in later) for place in range(3))
    rest = [f"about {num} to {word}" for num, word in ((confirm, "confirm"), (evaluate, "evaluate")) if num]
    searched = " to search" if evaluate else ""
    parts = [
        f"{optimizers} optimizer{'s' * (optimizers != 1)} x {workloads} workload{'s' * (workloads != 1)}: "
        f"{num_first + more} runs{searched}{', then ' * bool(rest)}{' and '.join(rest)}",
        f"{num_cached} cached",
        _describe_time(asked, later, timings, num_workers),
    ]
    return "plan: " + "; ".join(part for part in parts if part)


def list_stages(batches: Sequence[Underway]) -> list[str]:
    """Return one line for each stage that studies are at: runs asked for, and those that are stored."""
    asked = [(one, one.request) for one in batches if isinstance(one.request, Batch)]
    lines = []
    for stage in dict.fromkeys(request.stage for _, request in asked):
        some = [(one, request) for one, request in asked if request.stage == stage]
        runs = [(one, job) for one, request in some for job in request.jobs if isinstance(job, Run)]
        num_cached = sum(job_id(job) in one.cached for one, job in runs)
        if runs:
            studies = f"{len(some)} {'study' if len(some) == 1 else 'studies'}"
            lines.append(f"{stage}: {len(runs)} runs in {studies}; {num_cached} cached")
    return lines


def _runs(one: Underway) -> list[Run]:
    return [job for job in one.request.jobs if isinstance(job, Run)] if isinstance(one.request, Batch) else []


def _later(one: Underway) -> tuple[int, int, int]:
    """Return the runs after the first batch: of the search, to confirm its best, and to evaluate."""
    if not isinstance(one.request, Batch) or one.request.stage != "search":
        return 0, 0, 0
    search = one.spec.search
    more = max(0, search.trials * search.seeds - len(_runs(one)))
    confirm = min(search.confirm, search.trials) * max(0, search.confirm_seeds - search.seeds)
    return more, confirm, first_count(one.spec)


def _describe_time(
    asked: Sequence[tuple[Underway, Sequence[Run]]],
    later: Sequence[tuple[int, int, int]],
    timings: Timings | None,
    num_workers: int,
) -> str:
    if timings is None:
        return ""
    seconds, num_unknown = 0.0, 0
    for (one, runs), more in zip(asked, later, strict=True):
        pending = [run for run in runs if job_id(run) not in one.outcomes]
        # The runs of a study differ in numbers that take no time.
        each = timings.seconds(runs[0]) if runs else 0.0
        if each is None:
            num_unknown += 1
            continue
        seconds += each * (len(pending) + sum(more)) / num_workers
        if one.spec.meter.is_on and (pending or any(more)):
            seconds += one.spec.meter.warmup_s + one.spec.meter.seconds
    if num_unknown == len(asked):
        return "time unknown: nothing like it was timed on this device yet"
    unknown = f", and {num_unknown} of {len(asked)} cells that were never timed here" if num_unknown else ""
    return f"about {describe_s(seconds)}{unknown}, by what this device has timed"
