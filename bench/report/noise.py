"""What a noise sweep measured: how far each workload spreads over seeds, and what it can therefore tell."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from bench.report.power import PAIR
from bench.report.sweep import Arena, Cell, Sweep
from bench.stats import MIN_PAIRS, TELLING_GAP, paired_effect, smallest_gap, standardised_gap, summarise

# The number of seeds that the smallest gap is given for: what the defaults begin with.
SEEDS = 5
TELLS, TIES = "tells apart", "ties: a negative control"


@dataclass(frozen=True, kw_only=True)
class Noise:
    """One arena over its seeds; None where that could not be measured."""

    arena: Arena
    num_params: int | None
    # Median over runs, on the machine they ran on.
    train_s: float | None
    # Label -> mean and seed sd of the final validation loss; None without an honest mean.
    losses: dict[str, tuple[float, float | None] | None]
    # Of the differences between two optimizers on a seed, on the scale of the workload's effect.
    pair_sd: float | None
    # Whether it was measured seed by seed, or is sqrt(2) times a single optimizer's.
    is_paired: bool
    # What SEEDS seeds see.
    gap: float | None
    # The two compared: those of PAIR, else the two furthest apart; and how far, in pooled sds.
    pair: tuple[str, str] | None
    standardised: float | None

    @property
    def verdict(self) -> str | None:
        """What the workload is good for."""
        if self.standardised is None:
            return None
        return TELLS if self.standardised >= TELLING_GAP else TIES


def is_noise(sweep: Sweep) -> bool:
    """Return whether a sweep was made to measure noise, and not to compare."""
    cells = [cell for arena in sweep.arenas for cell in arena.cells]
    return bool(cells) and all(cell.study.do == "noise" for cell in cells)


def measure_noise(arena: Arena) -> Noise:
    """Return how far an arena's optimizers spread over their seeds, and how far they lie apart."""
    # By name, not by loss, so that rows read alike.
    cells = sorted((cell for cell in arena.cells if cell.is_complete), key=lambda cell: cell.label)
    results = [end.result for cell in cells for end in cell.ends if end.result is not None]
    moments = {cell.label: found for cell in cells if (found := _find_moments(cell)) is not None}
    paired = [
        effect.sd
        for first, second in combinations(cells, 2)
        if (effect := paired_effect(first.losses, second.losses, arena.study.workload.effect)) is not None
        and effect.sd is not None
        and effect.n >= MIN_PAIRS
    ]
    sds = paired or [math.sqrt(2) * sd for _, sd in moments.values()]
    pair_sd = math.hypot(*sds) / math.sqrt(len(sds)) if sds else None
    gaps = {
        (first.label, second.label): standardised_gap(moments[first.label], moments[second.label])
        for first, second in combinations(cells, 2)
        if first.label in moments and second.label in moments
    }
    pair = _choose_pair(cells, gaps)
    return Noise(
        arena=arena,
        num_params=next((result.num_params for result in results), None),
        train_s=statistics.median(result.train_s for result in results) if results else None,
        losses={
            cell.label: summarise(list(cell.losses.values())) if cell.is_complete else None
            for cell in arena.cells
            if cell.obstacle is None
        },
        pair_sd=pair_sd,
        is_paired=bool(paired),
        gap=smallest_gap(pair_sd, SEEDS, is_paired=True) if pair_sd is not None else None,
        pair=pair,
        standardised=gaps[pair] if pair is not None else None,
    )


def _find_moments(cell: Cell) -> tuple[float, float] | None:
    """Return mean and sd over a cell's seeds, on the scale of the workload's effect."""
    losses = list(cell.losses.values())
    if cell.study.workload.effect == "log_ratio":
        if min(losses) <= 0:
            return None
        losses = [math.log(loss) for loss in losses]
    mean, sd = summarise(losses)
    return None if sd is None or len(losses) < MIN_PAIRS else (mean, sd)


def _choose_pair(cells: Sequence[Cell], gaps: dict[tuple[str, str], float]) -> tuple[str, str] | None:
    names = {cell.label: cell.study.optimizer.name for cell in cells}
    for pair in gaps:
        if {names[label] for label in pair} == set(PAIR):
            return pair
    # Of equally far ones the first by name.
    return max(sorted(gaps), key=lambda pair: gaps[pair], default=None)
