"""One word per optimizer and arena: what may be claimed against the reference, and what not."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from bench.report.stats import (
    MIN_PAIRS,
    Effect,
    adjust_holm,
    count_more_seeds,
    is_within_margin,
    paired_effect,
)
from bench.report.sweep import Arena, Cell

# Below this, after Holm's adjustment, a difference is claimed.
ALPHA = 0.05


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What may be said of one cell against the reference of its arena."""

    cell: Cell
    is_reference: bool
    # None for the reference, and where the two can't be paired.
    effect: Effect | None
    # Adjusted over the arena's comparisons.
    p_holm: float | None
    # "reference", or the verdict: one of few words, and "untuned" where nothing was searched.
    verdict: str
    # What the verdict leaves open, in one clause.
    remark: str | None


def judge(arena: Arena) -> tuple[Judgement, ...]:
    """Judge every cell of an arena, in the arena's order."""
    workload = arena.study.workload
    effects: dict[str, Effect] = {}
    for cell in arena.cells:
        if cell is not arena.reference and cell.is_complete and arena.reference.is_complete:
            effect = paired_effect(cell.losses, arena.reference.losses, workload.effect)
            if effect is not None:
                effects[cell.label] = effect
    tested = [label for label, effect in effects.items() if effect.p is not None]
    adjusted = adjust_holm([effects[label].p or 0.0 for label in tested])
    p_holm = dict(zip(tested, adjusted, strict=True))
    judgements = []
    for cell in arena.cells:
        effect, p = effects.get(cell.label), p_holm.get(cell.label)
        word, remark = "reference", None
        if cell is not arena.reference:
            word, remark = _weigh(arena, cell, effect, p)
            word += "" if arena.is_searched else ", untuned"
        judgements.append(
            Judgement(
                cell=cell,
                is_reference=cell is arena.reference,
                effect=effect,
                p_holm=p,
                verdict=word,
                remark=remark,
            )
        )
    return tuple(judgements)


def scale_of(arena: Arena) -> tuple[str, Callable[[float], float]]:
    """Return the unit an arena's effects are shown in (" %" or empty), and the conversion to it."""
    if arena.study.workload.effect == "log_ratio":
        return " %", lambda value: 100 * math.expm1(min(value, 700.0))
    return "", lambda value: value


def format_range(arena: Arena, bounds: tuple[float, float]) -> str:
    """Return an interval of effects as `-0.4 to +1.2 %`."""
    unit, convert = scale_of(arena)
    return f"{convert(bounds[0]):+.2g} to {convert(bounds[1]):+.2g}{unit}"


def _weigh(arena: Arena, cell: Cell, effect: Effect | None, p: float | None) -> tuple[str, str | None]:
    troubled = _weigh_ends(arena.reference, cell)
    if troubled is not None:
        return troubled, None
    if effect is None:
        return "no claim (nothing to pair)", "no common seed, or a loss that is not above 0"
    if effect.n < MIN_PAIRS or effect.interval is None:
        return f"no claim (n={effect.n})", f"an interval needs at least {MIN_PAIRS} paired seeds"
    return _weigh_effect(arena, effect, p)


def _weigh_ends(reference: Cell, cell: Cell) -> str | None:
    """Return the verdict on a cell that has no honest mean to compare, or whose reference has none."""
    num_diverged, num_runs = cell.count("diverged"), len(cell.ends)
    if not num_diverged and not cell.losses:
        return f"missing ({_first_trouble(cell)})"
    if num_diverged and reference.count("diverged"):
        return "no claim (both diverged)"
    if num_diverged:
        return f"unstable ({num_diverged}/{num_runs} diverged)"
    if not cell.is_complete:
        return f"no claim ({num_runs - len(cell.losses)}/{num_runs} {_first_trouble(cell)})"
    if reference.count("diverged"):
        return "no claim (reference diverged)"
    return None if reference.is_complete else "no claim (reference incomplete)"


def _weigh_effect(arena: Arena, effect: Effect, p: float | None) -> tuple[str, str | None]:
    margin = arena.study.workload.margin
    is_resolved = p is not None and p < ALPHA
    if is_within_margin(effect, margin):
        return "tied", "a difference is resolved, but below the margin" if is_resolved else None
    word = "better" if effect.mean < 0 else "worse"
    if is_resolved:
        return word, None
    assert effect.interval is not None, effect
    if effect.interval[0] > 0 or effect.interval[1] < 0:
        return f"leaning {word}", "the interval excludes 0, but not after adjusting for the other comparisons"
    more = count_more_seeds(effect, margin)
    seeds = "over 1000 more seeds" if more is None else f"about {more} more seed{'s' * (more != 1)}"
    if more == 0:
        return "inconclusive", f"could be {format_range(arena, effect.interval)}"
    return (
        "inconclusive",
        f"could be {format_range(arena, effect.interval)}; {seeds} would resolve the margin",
    )


def _first_trouble(cell: Cell) -> str:
    troubles = [end.status for end in cell.ends if end.val_loss is None]
    return troubles[0].replace("missing", "not run") if troubles else "not run"
