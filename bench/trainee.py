"""A run under way: what it is asked for, what is known of it so far, and how it ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch

from bench.checkpoint import Checkpoints
from bench.identity import run_id
from bench.result import Machine, Result, Status
from bench.spec import Run
from bench.tally import Tally


@dataclass
class Trainee:
    """A run to train, where its state goes, and what is known of it so far.

    Attributes:
        run: What to train.
        keep: Where it saves its state from time to time, and goes on from; its numbers are those of a run
            that was never disturbed, times apart. Who publishes a settled result calls `keep.remove()`.
        tell: Called at each evaluation with the steps taken and the validation loss.
        notes: What whoever reads the result should know, a line each.
    """

    run: Run
    keep: Checkpoints | None = None
    tell: Callable[[int, float], None] | None = None
    notes: Sequence[str] = ()
    tally: Tally = field(default_factory=Tally)

    def describe_owner(self, machine: Machine, engine: str) -> dict[str, str | int]:
        """Return what has to be the same for a saved state to go on with the same bits."""
        versions: dict[str, str | int] = {"torch": str(torch.__version__), "bench": machine.bench}
        return versions | {
            "run": run_id(self.run),
            "device": machine.device_name,
            "threads": self.run.threads,
            "engine": engine,
        }

    def conclude(
        self, status: Status, detail: str | None, files: dict[str, bytes], machine: Machine, engine: str
    ) -> Result:
        """Return the record of how it ended, with files beside it by name."""
        notes = (*self.notes, *(() if self.keep is None else self.keep.notes))
        return self.tally.conclude(
            self.run, status, detail, machine, engine=engine, artifacts=tuple(files), notes=notes
        )


class End(NamedTuple):
    """How a trainee ended, by its place among those it was trained with."""

    place: int
    status: Status
    detail: str | None
    files: dict[str, bytes]
