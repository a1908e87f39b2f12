"""Which claim the paired effects of an arena carry, each beside the others."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from scipy import special

from bench.stats.effect import MIN_PAIRS, SELECTION_DF, Effect, add_errors

Word = Literal["tied", "better", "worse", "leaning better", "leaning worse", "inconclusive"]

# Below this, after Holm's adjustment, a difference is claimed.
ALPHA = 0.05


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What one effect says among the others of its arena."""

    word: Word
    p_holm: float


def decide(effects: Mapping[str, Effect], margin: float, alpha: float = ALPHA) -> dict[str, Claim]:
    """Return the claims of an arena's comparisons; those below MIN_PAIRS carry none and are left out.

    Args:
        effects: Label -> its effect against the reference.
        margin: Below it, on the effects' scale, a difference is none.
        alpha: What an adjusted p has to stay below.
    """
    tested = {label: effect for label, effect in effects.items() if effect.p is not None}
    adjusted = adjust_holm([effect.p or 0.0 for effect in tested.values()])
    claims = {}
    for (label, effect), p in zip(tested.items(), adjusted, strict=True):
        side: Literal["better", "worse"] = "better" if effect.mean < 0 else "worse"
        word: Word = "inconclusive"
        if is_within_margin(effect, margin, alpha):
            word = "tied"
        elif p < alpha:
            word = side
        elif (effect.p or 0.0) < ALPHA:
            word = "leaning better" if side == "better" else "leaning worse"
        claims[label] = Claim(word=word, p_holm=p)
    return claims


def adjust_holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for how many there are, in the order given.

    Source: Holm 1979, "A simple sequentially rejective multiple test procedure".
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted = [1.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def is_within_margin(effect: Effect, margin: float, alpha: float = ALPHA) -> bool:
    """Return whether the 1 - 2 alpha interval lies inside +-margin: equivalence by two one-sided tests.

    Source: Schuirmann 1987, "A comparison of the two one-sided tests procedure".
    """
    bounds = effect.bounds(1 - 2 * alpha)
    return bounds is not None and -margin < bounds[0] and bounds[1] < margin


def count_more_seeds(effect: Effect, margin: float, at_most: int = 1000) -> int | None:
    """Return how many more seeds would shrink the 95 % half-width to the margin; None: over `at_most`."""
    if effect.sd is None:
        return None
    parts = [(part, float(SELECTION_DF)) for part in effect.selection]
    if math.hypot(*effect.selection) >= margin:
        # What the search leaves open stays, whatever the number of evaluation seeds.
        return None
    for n in range(max(effect.n, MIN_PAIRS), effect.n + at_most + 1):
        error, df = add_errors([(effect.sd / math.sqrt(n), n - 1.0), *parts])
        if float(special.stdtrit(df, 0.975)) * error <= margin:
            return n - effect.n
    return None
