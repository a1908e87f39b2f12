"""What a level of a factor does against its baseline, all else equal: paired by seed, with what it costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from bench.report.factor import Factor, Grid, Task
from bench.report.pace import Pace, average_paces, compare_steps, find_obstacle
from bench.report.sweep import Cell
from bench.report.verdict import scale_of
from bench.stats import Effect, Scale, paired_effect, selection_sd, summarise


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """One level of one factor against its baseline, for one optimizer: a row of the table."""

    optimizer: str
    factor: Factor
    level: str
    # Of the mean over combinations within each seed, so that a seed counts once; None: nothing to pair.
    effect: Effect | None
    # Mean effect in each combination of the other factors that could be paired.
    singles: tuple[float, ...]
    # Combinations in which either side was asked for but not both finished on every seed.
    num_lost: int
    # Runs of the level, and of the baseline in the same combinations, that diverged.
    num_diverged: int
    num_baseline_diverged: int
    num_runs: int
    # The cells at the level and at the baseline, of each combination that has both.
    pairs: tuple[tuple[Cell, Cell], ...]
    # Geometric means over the combinations in which both sides were metered; None without any.
    time: Pace | None
    memory_ratio: float | None

    @property
    def time_ratio(self) -> float | None:
        """The step time over the baseline's."""
        return self.time.ratio if self.time is not None else None

    @property
    def time_obstacle(self) -> str | None:
        """Why nothing is said of the step time although it was measured."""
        return next((text for pair in self.pairs for cell in pair if (text := find_obstacle(cell))), None)

    @property
    def is_identical(self) -> bool:
        """Whether every loss is the baseline's to the last bit: then there is nothing to test."""
        return self.is_whole and all(mine.losses == base.losses for mine, base in self.pairs)

    @property
    def is_whole(self) -> bool:
        """Whether nothing was lost: only then does the effect speak of all combinations."""
        return self.effect is not None and not self.num_lost


def list_contrasts(task: Task) -> tuple[Contrast, ...]:
    """Return every level but the baselines, by factor, optimizer and level."""
    contrasts = []
    for name, _ in task.factors:
        for grid in task.grids:
            for index, factor in enumerate(grid.factors):
                if factor.name == name:
                    contrasts += [_contrast(task, grid, index, level) for level in factor.levels[1:]]
    return tuple(contrasts)


def find_best_level(contrasts: Sequence[Contrast]) -> Contrast | None:
    """Return the contrast with the lowest mean effect among whole ones; None without any."""
    whole = [each for each in contrasts if each.is_whole]
    return min(whole, key=lambda each: each.effect.mean if each.effect else 0.0, default=None)


def format_effect(task: Task, effect: Effect) -> str:
    """Return an effect as `-3.1 % [-4.0, -2.2]`; without its interval below three seeds."""
    unit, convert = scale_of(task.arena)
    mean, *bounds = (_format(convert(value)) for value in (effect.mean, *(effect.interval or ())))
    return f"{mean}{unit}" + (f" [{bounds[0]}, {bounds[1]}]" if bounds else "")


def collect_contrasts(task: Task, contrasts: Sequence[Contrast]) -> pd.DataFrame:
    """Return contrasts as data, effects on the workload's own scale."""
    rows = []
    for each in contrasts:
        low, high = (each.effect.interval if each.effect else None) or (None, None)
        rows.append(
            {
                "task": task.name,
                "optimizer": each.optimizer,
                "factor": each.factor.key,
                "factor_name": each.factor.name,
                "level": each.level,
                "baseline": each.factor.baseline,
                "effect_scale": task.arena.study.workload.effect,
                "effect_mean": each.effect.mean if each.effect else None,
                "effect_ci95_low": low,
                "effect_ci95_high": high,
                "p": each.effect.p if each.effect else None,
                "num_seeds": each.effect.n if each.effect else None,
                "num_combinations": len(each.singles),
                "num_combinations_lost": each.num_lost,
                "effect_smallest": min(each.singles, default=None),
                "effect_largest": max(each.singles, default=None),
                "is_identical": each.is_identical,
                "step_time_ratio": each.time_ratio,
                "step_time_ratio_ci95_low": each.time.interval[0]
                if each.time and each.time.interval
                else None,
                "step_time_ratio_ci95_high": each.time.interval[1]
                if each.time and each.time.interval
                else None,
                "aa_noise_share": each.time.noise if each.time else None,
                "is_time_within_noise": each.time.is_noise if each.time else None,
                "peak_memory_ratio": each.memory_ratio,
                "num_diverged": each.num_diverged,
                "num_baseline_diverged": each.num_baseline_diverged,
                "num_runs": each.num_runs,
            }
        )
    return pd.DataFrame(rows)


def _format(value: float) -> str:
    return f"{value:+.0f}" if abs(value) >= 100 else f"{value:+.2g}"


def _contrast(task: Task, grid: Grid, index: int, level: str) -> Contrast:
    factor = grid.factors[index]
    pairs = _pair(grid, index, level)
    asked = [pair for pair in pairs if pair[0] is not None or pair[1] is not None]
    found = [(mine, base) for mine, base in pairs if mine is not None and base is not None]
    whole = [(mine, base) for mine, base in found if mine.is_complete and base.is_complete]
    effect, singles = _compare(whole, task.arena.study.workload.effect)
    return Contrast(
        optimizer=grid.optimizer,
        factor=factor,
        level=level,
        effect=effect,
        singles=singles,
        num_lost=len(asked) - len(singles),
        num_diverged=sum(mine.count("diverged") for mine, _ in pairs if mine is not None),
        num_baseline_diverged=sum(base.count("diverged") for _, base in pairs if base is not None),
        num_runs=sum(len(mine.ends) for mine, _ in pairs if mine is not None),
        pairs=tuple(found),
        time=average_paces([pace for pair in found if (pace := compare_steps(*pair)) is not None]),
        memory_ratio=_average_ratio([(_peak(mine), _peak(base)) for mine, base in found]),
    )


def _pair(grid: Grid, index: int, level: str) -> list[tuple[Cell | None, Cell | None]]:
    """Return the cells at a level and at the baseline for each combination of the other factors."""
    rests = dict.fromkeys((place[:index], place[index + 1 :]) for place in grid.cells)
    baseline = grid.factors[index].baseline
    return [
        (grid.cells.get((*before, level, *after)), grid.cells.get((*before, baseline, *after)))
        for before, after in rests
    ]


def _compare(pairs: Sequence[tuple[Cell, Cell]], scale: Scale) -> tuple[Effect | None, tuple[float, ...]]:
    """Return the effect of a level, and its size in each pair of cells that has one.

    All pairs of one seed share that seed's noise, so they are averaged before anything is tested: seeds are
    what is independent. Only seeds that every pair has count, so that each speaks of the same combinations.
    """
    pairs = [pair for pair in pairs if paired_effect(pair[0].losses, pair[1].losses, scale) is not None]
    seeds = set.intersection(*(set(side.losses) for pair in pairs for side in pair)) if pairs else set()
    if not seeds:
        return None, ()
    table = [
        {seed: _difference(mine.losses[seed], base.losses[seed], scale) for seed in sorted(seeds)}
        for mine, base in pairs
    ]
    by_seed = {seed: summarise([row[seed] for row in table])[0] for seed in sorted(seeds)}
    # Searches of several combinations share their seeds: what they leave open is taken as common to all.
    selection = [
        summarise([selection_sd(pair[side].search, pair[side].losses, scale) for pair in pairs])[0]
        for side in (0, 1)
    ]
    effect = paired_effect(by_seed, dict.fromkeys(by_seed, 0.0), "difference", selection)
    return effect, tuple(summarise(list(row.values()))[0] for row in table)


def _difference(loss: float, base: float, scale: Scale) -> float:
    return math.log(loss) - math.log(base) if scale == "log_ratio" else loss - base


def _peak(cell: Cell) -> float | None:
    return cell.cost.peak_bytes if cell.cost is not None else None


def _average_ratio(pairs: Sequence[tuple[float | None, float | None]]) -> float | None:
    """Return the geometric mean of the ratios, in which a half and a double cancel."""
    logs = [math.log(mine / base) for mine, base in pairs if mine and base]
    return math.exp(summarise(logs)[0]) if logs else None
