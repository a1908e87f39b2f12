"""A run that is to be trained, as those see it who decide when."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from bench.identity import run_id
from bench.result import Machine, Result
from bench.spec import Run
from bench.tally import Tally


class Wanted(NamedTuple):
    """A run that is to be trained, once and by whomever."""

    run: Run
    machine: Machine
    # Seconds between two saves of its state.
    every_s: float
    # How often it was killed already; so often in all it is tried again.
    num_killed: int = 0
    # Runs of the same shape train as one population; None: it trains by itself.
    shape: bytes | None = None


def name_cell(run: Run) -> str:
    """Return what runs share that differ in seed and lr only: what a step needs and does is the same."""
    optimizer = msgspec.structs.replace(run.optimizer, lr=1.0)
    return run_id(msgspec.structs.replace(run, seed=0, optimizer=optimizer))


def skip(one: Wanted, cause: Result) -> Result:
    """Return the end of a run that is not tried, for what ended another of its cell."""
    where = f"lr={cause.run.optimizer.lr:g} seed={cause.run.seed}"
    detail = f"not tried: the same cell ran out of memory at {where}"
    return Tally().conclude(one.run, "oom", detail, one.machine, engine=cause.engine)
