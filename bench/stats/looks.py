"""How many evaluation seeds seeds=auto runs: looks at the verdicts that together err no more than one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from scipy import special

from bench.stats.claim import ALPHA, decide
from bench.stats.effect import Effect, Scale, paired_effect

# The first look is at this many seeds, each later one at twice as many as the one before.
FIRST_LOOK = 5


@dataclass(frozen=True, kw_only=True)
class Look:
    """One look of seeds=auto at an arena."""

    # What a claim's adjusted p has to stay below.
    alpha: float
    # Evaluation seeds to have next; as many as there are: this look was the last.
    num_next: int


def list_looks(limit: int) -> tuple[int, ...]:
    """Return the numbers of seeds at which seeds=auto looks at the verdicts, the last of them the limit."""
    looks = []
    num = FIRST_LOOK
    while num < limit:
        looks.append(num)
        num *= 2
    return (*looks, limit)


def spend_alpha(share: float) -> float:
    """Return how much of ALPHA may be spent once this share of all seeds, in (0, 1], has run.

    Source: Lan and DeMets 1983, "Discrete sequential boundaries for clinical trials", with their spending
    function of the kind of O'Brien and Fleming 1979: next to nothing early, so that the end loses little.
    """
    return float(2 * special.ndtr(special.ndtri(ALPHA / 2) / math.sqrt(share)))


def plan_seeds(effects: Mapping[str, Effect], margin: float, num: int, limit: int) -> Look:
    """Return what an arena may claim under seeds=auto, and how many seeds it needs next.

    It needs no more when every verdict is resolved (better, worse or tied) or can't be resolved by seeds
    (what the search leaves open is wider than the paired interval), or at the limit.

    Args:
        effects: Label -> its effect against the reference, for all that ran every seed so far.
        margin: Below it, on the effects' scale, a difference is none.
        num: Evaluation seeds so far.
        limit: And at most.

    Source: Lan and DeMets 1983, "Discrete sequential boundaries for clinical trials". Deviation: the looks'
    levels add up to ALPHA, where theirs, by integrating over correlated looks, are a little larger; a look
    after which nothing could follow spends all that is left.
    """
    before = [look for look in list_looks(limit) if look < min(num, limit)]
    spent = spend_alpha(before[-1] / limit) if before else 0.0
    alpha = spend_alpha(min(1.0, num / limit)) - spent
    claims = decide(effects, margin, alpha)
    is_open = [
        label
        for label, claim in claims.items()
        if claim.word not in ("better", "worse", "tied") and not effects[label].is_narrow
    ]
    if num >= limit or not is_open:
        return Look(alpha=ALPHA - spent, num_next=num)
    return Look(alpha=alpha, num_next=next(look for look in list_looks(limit) if look > num))


def next_num_seeds(
    losses: Mapping[str, Mapping[int, float]],
    reference: str,
    scale: Scale,
    margin: float,
    selection: Mapping[str, float],
    current: int,
    limit: int,
) -> int:
    """Return how many evaluation seeds an arena needs under seeds=auto; as many as it has: no more.

    Args:
        losses: Label -> seed -> final loss, of the finished runs. An optimizer that did not finish every
            seed, or can't be paired, is left out: more seeds would not give it a mean.
        reference: Label of the reference.
        scale: The workload's effect.
        margin: The workload's, on that scale.
        selection: Label -> `selection_sd`; absent: it was not searched for.
        current: Evaluation seeds so far.
        limit: And at most.
    """
    if current < min(FIRST_LOOK, limit):
        return min(FIRST_LOOK, limit)
    base = losses.get(reference, {})
    effects = {}
    for label, mine in losses.items():
        if label == reference or min(len(mine), len(base)) < current:
            continue
        parts = (selection.get(label, 0.0), selection.get(reference, 0.0))
        effect = paired_effect(mine, base, scale, parts)
        if effect is not None:
            effects[label] = effect
    return plan_seeds(effects, margin, current, limit).num_next
