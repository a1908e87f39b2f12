"""What the store can answer: how a job ended that need not be done again."""

from __future__ import annotations

from collections.abc import Sequence

from bench.dispatch import MAX_KILLED
from bench.result import Machine
from bench.spec import Run
from bench.store import Store
from bench.study import Job, Outcome, job_id


def find_answer(store: Store, job: Job, machine: Machine, retry: Sequence[str]) -> Outcome | None:
    """Return how a job ended here, unless it is to be tried (again).

    Args:
        store: Looked into.
        job: A training or a measurement.
        machine: Where it would be done.
        retry: Ends of a training that are no answer.
    """
    key = job_id(job)
    if not isinstance(job, Run):
        return store.find_cost(key, machine)
    settled = store.find(key, machine)
    if settled is not None:
        return settled
    attempt = store.last_attempt(key, machine)
    if attempt is None or attempt.status in retry:
        return None
    # What was killed is tried again, but not for ever.
    if attempt.status == "killed":
        is_hopeless = store.count_attempts(key, machine, "killed") >= MAX_KILLED
        return attempt if is_hopeless else None
    # Of the others these would end the same way again. What is unsupported may be there by now (a package was
    # installed), and costs nothing to find out.
    return attempt if attempt.status in ("failed", "oom", "timeout") else None
