"""What the arenas of a sweep say together about each optimizer, for those that share their reference."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.report.sweep import Arena, Cell
from bench.report.verdict import Judgement, judge
from bench.stats import (
    PooledEffect,
    adjust_fdr,
    improvement_probability,
    pool_effects,
)

# What a verdict opens with; "leaning" is either way.
KINDS = ("better", "tied", "worse", "leaning", "inconclusive", "no claim", "unstable", "missing", "not run")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The smallest adjusted p of an optimizer, and the arena it comes from."""

    p: float
    arena: Arena
    is_lower: bool


@dataclass(frozen=True, kw_only=True)
class Standing:
    """One optimizer over all the arenas of a league that it was asked to run in."""

    label: str
    # Those in which it could run.
    arenas: tuple[Arena, ...]
    # Beside the arenas.
    judgements: tuple[Judgement, ...]
    # Kind of verdict -> in how many arenas.
    counts: Mapping[str, int]
    # None for a single arena, where an effect is no log-ratio, and where one is absent.
    pooled: PooledEffect | None
    # Why there is no pooled effect.
    remark: str | None
    # That a seed ends lower than the reference on the same seed, and its 95 % interval.
    chance: tuple[float, tuple[float, float]] | None
    # None where no claim could be made at all.
    finding: Finding | None
    num_diverged: int
    num_runs: int


@dataclass(frozen=True, kw_only=True)
class League:
    """The arenas that share one reference, and how each other optimizer stands in them, by label."""

    reference: str
    arenas: tuple[Arena, ...]
    standings: tuple[Standing, ...]


def find_leagues(arenas: Sequence[Arena]) -> tuple[League, ...]:
    """Return the leagues in which some optimizer met the reference in two arenas or more.

    Args:
        arenas: All of a page, because p-values are adjusted over everything compared on it.
    """
    judged = {arena.name: judge(arena) for arena in arenas}
    adjusted = _adjust(judged)
    grouped: dict[str, list[Arena]] = {}
    for arena in arenas:
        if arena.obstacle is not None:
            continue
        grouped.setdefault(arena.reference.label, []).append(arena)
    leagues = []
    for reference, group in grouped.items():
        labels = sorted({cell.label for arena in group for cell in arena.cells} - {reference})
        standings = tuple(_stand(label, group, judged, adjusted) for label in labels)
        if any(len(standing.arenas) > 1 for standing in standings):
            leagues.append(League(reference=reference, arenas=tuple(group), standings=standings))
    return tuple(leagues)


def count_comparisons(judgements: Sequence[Judgement]) -> int:
    """Return how many of an arena's comparisons were tested."""
    return sum(each.p_holm is not None for each in judgements)


def _adjust(judged: Mapping[str, Sequence[Judgement]]) -> dict[tuple[str, str], float]:
    """Return arena and label -> p adjusted over all comparisons, those without an interval left out."""
    raw = {
        (name, each.cell.label): each.effect.p
        for name, judgements in judged.items()
        for each in judgements
        if each.effect is not None and each.effect.p is not None
    }
    return dict(zip(raw, adjust_fdr(list(raw.values())), strict=True))


def _stand(
    label: str,
    group: Sequence[Arena],
    judged: Mapping[str, Sequence[Judgement]],
    adjusted: Mapping[tuple[str, str], float],
) -> Standing:
    asked = [(arena, each) for arena in group for each in judged[arena.name] if each.cell.label == label]
    counts = Counter(classify(each) for _, each in asked)
    met = [(arena, each) for arena, each in asked if each.cell.obstacle is None]
    arenas = tuple(arena for arena, _ in met)
    judgements = tuple(each for _, each in met)
    # A comparison that carries no claim has a p too; it adjusts the others and is not shown.
    findings = [
        Finding(p=adjusted[arena.name, label], arena=arena, is_lower=each.effect.mean < 0)
        for arena, each in met
        if each.effect is not None and (arena.name, label) in adjusted and classify(each) != "no claim"
    ]
    remark = _find_gap(arenas, judgements)
    return Standing(
        label=label,
        arenas=arenas,
        judgements=judgements,
        counts={kind: counts[kind] for kind in KINDS},
        pooled=None if remark else _pool(judgements),
        remark=remark,
        chance=_chance(arenas, judgements) if len(arenas) > 1 else None,
        finding=min(findings, key=lambda each: each.p, default=None),
        num_diverged=sum(each.cell.count("diverged") for each in judgements),
        num_runs=sum(len(each.cell.ends) for each in judgements),
    )


def classify(judgement: Judgement) -> str:
    """Return the kind of a verdict, one of KINDS."""
    return next(kind for kind in KINDS if judgement.verdict.startswith(kind))


def _find_gap(arenas: Sequence[Arena], judgements: Sequence[Judgement]) -> str | None:
    """Return why the effects can't be pooled: a mean over the arenas that went well would flatter."""
    if len(arenas) < 2:
        return f"only on {arenas[0].name}" if arenas else "not run"
    for arena, each in zip(arenas, judgements, strict=True):
        if arena.study.workload.effect != "log_ratio":
            return f"no mean, since differences on {arena.name} are no ratios"
        if each.effect is None or each.effect.error is None:
            return f"no mean, since on {arena.name} it is {each.verdict.partition(',')[0]}"
    return None


def _pool(judgements: Sequence[Judgement]) -> PooledEffect | None:
    effects = [each.effect for each in judgements if each.effect is not None]
    return pool_effects(
        [
            (effect.mean, effect.error, effect.df)
            for effect in effects
            if effect.error is not None and effect.df is not None
        ]
    )


def _chance(
    arenas: Sequence[Arena], judgements: Sequence[Judgement]
) -> tuple[float, tuple[float, float]] | None:
    pairs = []
    for arena, each in zip(arenas, judgements, strict=True):
        sides = _list_ends(each.cell), _list_ends(arena.reference)
        if sides[0] is None or sides[1] is None:
            return None
        pairs.append((sides[0], sides[1]))
    return improvement_probability(pairs)


def _list_ends(cell: Cell) -> dict[int, float] | None:
    """Return seed -> final loss, infinite where it diverged; None where a seed came to no end of its own."""
    if not cell.ends or len(cell.losses) + cell.count("diverged") < len(cell.ends):
        return None
    return {end.run.seed: math.inf if end.val_loss is None else end.val_loss for end in cell.ends}
