"""One word per optimizer and arena: what may be claimed against the reference, and what not."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bench.report.sweep import Arena, Cell
from bench.stats import (
    ALPHA,
    MIN_PAIRS,
    Claim,
    Effect,
    count_more_seeds,
    decide,
    paired_effect,
    plan_seeds,
    selection_sd,
)

__all__ = ["ALPHA", "Judgement", "format_range", "judge", "scale_of"]

# Grids whose points per decade differ by less than this share are equally dense.
_SAME_DENSITY = 0.01


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
    effects = _compare(arena)
    claims = decide(effects, arena.study.workload.margin, claim_level(arena, effects))
    judgements = []
    for cell in arena.cells:
        effect, claim = effects.get(cell.label), claims.get(cell.label)
        word, remark = "reference", None
        if cell.obstacle is not None:
            word = "not run"
        elif cell is not arena.reference:
            word, remark = _weigh(arena, cell, effect, claim)
            word += "" if arena.is_searched else ", untuned"
            if not all(side.search is None or side.search.is_final for side in (cell, arena.reference)):
                word += ", preliminary"
        judgements.append(
            Judgement(
                cell=cell,
                is_reference=cell is arena.reference,
                effect=effect,
                p_holm=claim.p_holm if claim else None,
                verdict=word,
                remark=remark,
            )
        )
    return tuple(judgements)


def claim_level(arena: Arena, effects: Mapping[str, Effect]) -> float:
    """Return what an adjusted p of an arena has to stay below: less than ALPHA while seeds=auto looks on."""
    seeds = arena.study.seeds
    if seeds.num != "auto" or not effects:
        return ALPHA
    num = max(effect.n for effect in effects.values())
    return plan_seeds(effects, arena.study.workload.margin, num, seeds.limit).alpha


def scale_of(arena: Arena) -> tuple[str, Callable[[float], float]]:
    """Return the unit an arena's effects are shown in (" %" or empty), and the conversion to it."""
    if arena.study.workload.effect == "log_ratio":
        return " %", lambda value: 100 * math.expm1(min(value, 700.0))
    return "", lambda value: value


def format_range(arena: Arena, bounds: tuple[float, float]) -> str:
    """Return an interval of effects as `-0.4 to +1.2 %`."""
    unit, convert = scale_of(arena)
    low, high = (format_signed(convert(bound)) for bound in bounds)
    return f"{low} to {high}{unit}"


def format_signed(value: float) -> str:
    """Return a number with its sign and two significant digits, and all of those before the point."""
    return f"{value:+.0f}" if 99.5 <= abs(value) < 1e5 else f"{value:+.2g}"


def _compare(arena: Arena) -> dict[str, Effect]:
    """Return the effects of an arena by label: of cells with an honest mean, where the reference has one."""
    found = {
        cell.label: compare(arena, cell, arena.reference)
        for cell in arena.cells
        if cell is not arena.reference
    }
    return {label: effect for label, effect in found.items() if effect is not None}


def compare(arena: Arena, cell: Cell, other: Cell) -> Effect | None:
    """Return the effect of one cell against another; None where a side lacks an honest mean or a pair."""
    if not cell.is_complete or not other.is_complete:
        return None
    scale = arena.study.workload.effect
    sds = [selection_sd(side.search, side.losses, scale) for side in (cell, other)]
    return paired_effect(cell.losses, other.losses, scale, sds)


def _weigh(arena: Arena, cell: Cell, effect: Effect | None, claim: Claim | None) -> tuple[str, str | None]:
    troubled = _weigh_ends(arena.reference, cell)
    if troubled is not None:
        return troubled, None
    if effect is None:
        return "no claim (nothing to pair)", "no common seed, or a loss that is not above 0"
    if claim is None:
        return f"no claim (n={effect.n})", f"an interval needs at least {MIN_PAIRS} paired seeds"
    if claim.word not in ("tied", "inconclusive"):
        is_better = claim.word.endswith("better")
        loser, winner = (arena.reference, cell) if is_better else (cell, arena.reference)
        veto = find_veto(loser, winner)
        if veto is not None:
            return (
                f"no claim ({veto})",
                f"it would be {claim.word}, but {loser.label} may not have lost fairly",
            )
    return claim.word, _remark(arena, effect, claim)


def find_veto(loser: Cell, winner: Cell) -> str | None:
    """Return why the loser's search leaves it a way out; the winner's own search never takes its win away."""
    if loser.search is not None and loser.search.edge is not None:
        return "edge lr"
    lost, won = _list_lrs(loser), _list_lrs(winner)
    if _count_trials(loser) < _count_trials(winner) or len(lost) < len(won):
        return "fewer lr trials"
    is_grid = all(side.search is not None and side.search.sampler == "grid" for side in (loser, winner))
    if is_grid and _density(lost) < (1 - _SAME_DENSITY) * _density(won):
        return "fewer lrs per decade"
    return None


def _count_trials(cell: Cell) -> int:
    return len(cell.search.trials) if cell.search else 0


def _list_lrs(cell: Cell) -> list[float]:
    """Return the learning rates that a search tried, sorted."""
    trials = cell.search.trials if cell.search else ()
    lrs = {trial.params.get("optimizer.lr") for trial in trials}
    return sorted(float(lr) for lr in lrs if isinstance(lr, int | float) and lr > 0)


def _density(lrs: list[float]) -> float:
    """Return points per decade of an lr grid; 0 for fewer than two points."""
    return (len(lrs) - 1) / math.log10(lrs[-1] / lrs[0]) if len(lrs) > 1 else 0.0


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


def _remark(arena: Arena, effect: Effect, claim: Claim) -> str | None:
    """Return what a claim leaves open."""
    margin = arena.study.workload.margin
    if claim.word == "tied":
        return "a difference is resolved, but below the margin" if claim.p_holm < ALPHA else None
    if claim.word in ("better", "worse"):
        return None
    if claim.word != "inconclusive":
        others = "the other comparisons" + (" and looks" if arena.study.seeds.num == "auto" else "")
        return f"the interval excludes 0, but not after adjusting for {others}"
    assert effect.interval is not None, effect
    could = f"could be {format_range(arena, effect.interval)}"
    if math.hypot(*effect.selection) >= margin:
        return f"{could}; the search leaves more than the margin open: more search seeds would narrow it"
    more = count_more_seeds(effect, margin)
    if more == 0:
        return could
    seeds = "over 1000 more seeds" if more is None else f"about {more} more seed{'s' * (more != 1)}"
    return f"{could}; {seeds} would resolve the margin"


def _first_trouble(cell: Cell) -> str:
    if not cell.ends and cell.search is not None and cell.search.best is None:
        return "no setting finished"
    troubles = [end.status for end in cell.ends if end.val_loss is None]
    return troubles[0].replace("missing", "not run yet") if troubles else "not run yet"
