"""Choosing the best of the settings that a sweep lists for an optimizer, and leaving its luck out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.report.factor import Factor, Grid, Task
from bench.report.sweep import Arena, Cell
from bench.result import SearchRecord, TrialRecord
from bench.stats import selection_sd, summarise

Place = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The setting of one optimizer with the lowest mean loss on the search items, and what it reports."""

    grid: Grid
    place: Place
    # What was chosen among, and how many of it are no candidates: a seed did not finish.
    tried: tuple[Place, ...]
    num_failed: int
    # How many of those for another reason than that a seed diverged: they might have been the best.
    num_lost: int
    # Seed -> loss on the report items, at the setting that the search items of the *other* seeds chose.
    losses: Mapping[int, float]
    # For how many of the seeds that is the setting named here.
    num_agreed: int
    # What another choice might have changed, as for a search; on the workload's scale.
    selection_sd: float
    # The same with the two halves of the items in each other's place.
    mirrored_losses: Mapping[int, float]
    mirrored_sd: float
    # Factors at whose outermost level it lies, where a level beyond might be better.
    edges: tuple[str, ...]

    @property
    def cell(self) -> Cell:
        """The cell that was chosen."""
        return self.grid.cells[self.place]

    @property
    def label(self) -> str:
        """The optimizer with what was chosen: adamw dropout=0.1 weight_decay=0.3."""
        parts = [
            f"{factor.name.partition(' (')[0]}={level}"
            for factor, level in zip(self.grid.factors, self.place, strict=True)
            if self.has_listed(factor.key)
        ]
        return " ".join([self.grid.optimizer, *parts])

    def has_listed(self, key: str) -> bool:
        """Return whether the settings chosen among differ in a dotted key."""
        keys = [factor.key for factor in self.grid.factors]
        return key in keys and len({place[keys.index(key)] for place in self.tried}) > 1

    @property
    def num_tried(self) -> int:
        """How many settings were chosen among, those without a mean included."""
        return len(self.tried)

    @property
    def arenas(self) -> frozenset[str]:
        """Names of the arenas that its settings lie in."""
        return frozenset(self.grid.arenas[place].name for place in self.tried)


def find_best_place(grid: Grid) -> Place | None:
    """Return the combination with the lowest mean search loss; None where none finished on every seed."""
    candidates = _list_candidates(grid, list(grid.cells))
    return _find_lowest(candidates, _list_seeds(candidates)) if _list_seeds(candidates) else None


def choose(task: Task, grid: Grid, arenas: Sequence[Arena]) -> Choice | None:
    """Return the best setting of an optimizer within some arenas; None where none finished on every seed.

    Each seed is reported at the setting that all other seeds choose. Choosing on other items of the same runs
    would not do: a run that went well is low on both halves of the items. In our simulations of 4 to 12 equal
    settings that alone reports 0.1 to 0.8 of a seed's standard deviation too low, and this within 0.03 of it.
    What no number of seeds averages away is the choice of the items: hence a second choice on the other half.

    Source: Stone 1974, "Cross-validatory choice and assessment of statistical predictions".
    """
    names = {arena.name for arena in arenas}
    tried = [place for place, arena in grid.arenas.items() if arena.name in names]
    search = _list_candidates(grid, tried)
    report = {place: grid.cells[place].losses for place in search}
    seeds = _list_seeds(search)
    if not seeds:
        return None
    place = _find_lowest(search, seeds)
    chosen, mirrored = _leave_out(search, seeds), _leave_out(report, seeds)
    return Choice(
        grid=grid,
        place=place,
        tried=tuple(tried),
        num_failed=len(tried) - len(search),
        num_lost=sum(_is_lost(grid.cells[place]) for place in tried if place not in search),
        losses={seed: report[chosen[seed]][seed] for seed in seeds},
        num_agreed=sum(each == place for each in chosen.values()),
        selection_sd=_measure_choice(task, grid, search, seeds),
        mirrored_losses={seed: search[mirrored[seed]][seed] for seed in seeds},
        mirrored_sd=_measure_choice(task, grid, report, seeds),
        edges=_find_edges(grid.factors, tried, place),
    )


def _leave_out(tables: Mapping[Place, Mapping[int, float]], seeds: Sequence[int]) -> dict[int, Place]:
    """Return for each seed what the others choose: its own luck may not help to choose what it reports."""
    others = {seed: [other for other in seeds if other != seed] or seeds for seed in seeds}
    return {seed: _find_lowest(tables, others[seed]) for seed in seeds}


def _list_candidates(grid: Grid, tried: Sequence[Place]) -> dict[Place, dict[int, float]]:
    tables = {place: _list_search_losses(grid.cells[place]) for place in tried}
    return {place: table for place, table in tables.items() if table}


def _list_seeds(candidates: Mapping[Place, Mapping[int, float]]) -> list[int]:
    """Return the seeds that all candidates have: on others some would have been lucky alone."""
    return sorted(set.intersection(*map(set, candidates.values()))) if candidates else []


def _list_search_losses(cell: Cell) -> dict[int, float]:
    """Return seed -> loss on the search items; nothing for a cell with a seed that did not finish."""
    found = {end.run.seed: end.result.search_loss for end in cell.ends if end.result is not None}
    known = {seed: loss for seed, loss in found.items() if loss is not None and math.isfinite(loss)}
    return known if cell.is_complete and len(known) == len(cell.ends) else {}


def _is_lost(cell: Cell) -> bool:
    """Return whether a setting has no mean although none of its seeds diverged."""
    return not cell.count("diverged")


def _find_lowest(candidates: Mapping[Place, Mapping[int, float]], seeds: Sequence[int]) -> Place:
    return min(
        candidates, key=lambda place: (summarise([candidates[place][seed] for seed in seeds])[0], place)
    )


def _measure_choice(
    task: Task,
    grid: Grid,
    tables: Mapping[Place, Mapping[int, float]],
    seeds: Sequence[int],
) -> float:
    """Return the standard deviation that choosing adds: a listed grid is a search on the evaluation seeds."""
    place = _find_lowest(tables, seeds)
    trials = tuple(
        TrialRecord(
            number=number,
            params={},
            runs=(),
            losses=tuple(losses[seed] for seed in seeds),
            is_confirmed=False,
            round=0,
        )
        for number, losses in enumerate(tables.values())
    )
    record = SearchRecord(
        sampler="grid",
        space={},
        trials=trials,
        best=list(tables).index(place),
        edge=None,
        num_widened=0,
        is_final=True,
    )
    scale = task.arena.study.workload.effect
    cell = grid.cells[place]
    listed = selection_sd(record, cell.losses, scale)
    # Its lr may have been searched for before.
    return math.hypot(listed, selection_sd(cell.search, cell.losses, scale))


def _find_edges(factors: Sequence[Factor], tried: Sequence[Place], place: Place) -> tuple[str, ...]:
    edges = []
    for index, factor in enumerate(factors):
        values = sorted({float(each[index]) for each in tried}) if factor.is_numeric else []
        # Nothing lies beyond a weight decay or a dropout of 0.
        if len(values) > 1 and float(place[index]) in (values[-1], values[0] or values[-1]):
            edges.append(factor.key)
    return tuple(edges)
