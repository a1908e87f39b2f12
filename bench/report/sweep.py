"""A sweep as the report sees it: arenas of cells, each with what came of its runs and what a step costs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from bench.result import Cost, Manifest, Result, SearchRecord
from bench.spec import Optimizer, Run, Study


@dataclass(frozen=True, kw_only=True)
class RunEnd:
    """One evaluation run and how it ended."""

    id: str
    run: Run
    # A status of bench.result, or "missing" (nothing is stored) or "unreadable".
    status: str
    detail: str | None
    # Also there for a run that diverged or failed, with the curve so far.
    result: Result | None
    # Where the files beside a settled result lie.
    folder: Path | None

    @property
    def val_loss(self) -> float | None:
        """The final validation loss of a finished run, always finite."""
        return finite(self.result.val_loss) if self.result and self.status == "finished" else None


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One optimizer with its settings in one arena: a row of a table."""

    # The optimizer's name and those of its keys that tell it from its namesakes in the arena.
    label: str
    study: Study
    # By seed.
    ends: tuple[RunEnd, ...]
    cost: Cost | None
    # How its setting was found; None where nothing was searched, or the search left no record.
    search: SearchRecord | None = None
    # Why there is no cost although it was asked for.
    metering_detail: str | None = None
    # Label of the cell that stands for this one where optimizers are compared: the same, computed in a
    # plainer way. None: it stands for itself.
    variant_of: str | None = None
    # Where it ran, in a sweep that ran in several places; None in any other.
    hardware: str | None = None

    @property
    def obstacle(self) -> str | None:
        """Why the cell can't exist here: `not run: wants ...` or `does not fit: ...`; None when it can.

        It then has no runs to speak of: it lost nothing, failed nothing and weighs nothing.
        """
        troubles = [end for end in self.ends if end.status == "unsupported"]
        if not troubles or len(troubles) + self.count("missing", "interrupted") < len(self.ends):
            return None
        detail = next((end.detail for end in troubles if end.detail), None) or "no reason given"
        return detail if detail.startswith(("not run: ", "does not fit: ")) else f"not run: {detail}"

    @property
    def metering_trouble(self) -> str | None:
        """Why what a step costs could not be measured; None when it was, or was not asked for."""
        if self.cost is not None and self.cost.status != "finished":
            return self.cost.detail or self.cost.status
        return self.metering_detail if self.cost is None else None

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer with its lr resolved, as the runs had it."""
        return self.ends[0].run.optimizer if self.ends else self.study.optimizer

    @property
    def lr(self) -> float | None:
        """The learning rate the runs had; None while it is left open."""
        return None if isinstance(self.optimizer.lr, str) else self.optimizer.lr

    @property
    def losses(self) -> dict[int, float]:
        """Seed -> final validation loss, of the finished runs."""
        return {end.run.seed: end.val_loss for end in self.ends if end.val_loss is not None}

    @property
    def is_complete(self) -> bool:
        """Whether every evaluation seed finished: only then is a mean honest."""
        return bool(self.ends) and len(self.losses) == len(self.ends)

    def count(self, *statuses: str) -> int:
        """Return how many runs ended in one of these ways."""
        return sum(end.status in statuses for end in self.ends)


@dataclass(frozen=True, kw_only=True)
class Arena:
    """Cells that may be compared: same workload, data, model, horizon, schedule, precision and device."""

    name: str
    # Every setting but the optimizer's, dotted key -> value as text; the same for all cells.
    settings: dict[str, str]
    # One for each optimizer and its settings; by mean final loss, cells without one last.
    cells: tuple[Cell, ...]
    # The same again, computed in another way: recomputed, compiled, by another implementation. They cost
    # something else and lose nearly the same, so nothing is claimed of them here.
    variants: tuple[Cell, ...] = ()
    reference: Cell
    # The run's resolved device kind.
    device: str

    @property
    def all_cells(self) -> tuple[Cell, ...]:
        """Its cells and their variants."""
        return *self.cells, *self.variants

    @property
    def study(self) -> Study:
        """Any study of the arena, for what they share."""
        return self.cells[0].study

    @property
    def obstacle(self) -> str | None:
        """Why none of its cells can exist here; None when one can."""
        obstacles = [cell.obstacle for cell in self.cells]
        known = dict.fromkeys(each for each in obstacles if each is not None)
        return None if None in obstacles else "; ".join(known)

    @property
    def is_searched(self) -> bool:
        """Whether the optimizers' settings were searched for; otherwise every claim says "untuned"."""
        return all(cell.study.search.name != "none" for cell in self.cells)

    @property
    def vary(self) -> str:
        """What a seed changes, in words: every interval speaks of that and of nothing else."""
        return ", ".join(self.study.seeds.vary) or "nothing"


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """A whole sweep, read back from its folder."""

    folder: Path
    manifest: Manifest
    arenas: tuple[Arena, ...]
    # One line for each file that could not be read, and how many were tried.
    unreadable: tuple[str, ...]
    num_files: int
    # How many runs were answered from the store.
    num_cached: int
    # The optimizer asked for as the reference, or None.
    reference: str | None

    @property
    def ends(self) -> tuple[RunEnd, ...]:
        """All evaluation runs of the sweep, but those of cells that can't exist here."""
        cells = (cell for arena in self.arenas for cell in arena.all_cells if cell.obstacle is None)
        return tuple(end for cell in cells for end in cell.ends)

    @property
    def is_preliminary(self) -> bool:
        """Whether a search is still to be confirmed or widened: what is claimed now may change."""
        cells = (cell for arena in self.arenas for cell in arena.all_cells)
        return any(cell.search is not None and not cell.search.is_final for cell in cells)


@dataclass(frozen=True, kw_only=True)
class Concern:
    """One warning: which cells, what it means for the claims, and the command that would settle it."""

    # For the terminal, where a line has 98 columns.
    brief: str
    text: str
    command: str | None = None


def finite(value: float | None) -> float | None:
    """Return the value, or None where it is absent or no finite number."""
    return value if value is not None and math.isfinite(value) else None
