"""What may be said over several arenas at once: means, chances and profiles, with how far each can be off."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scipy import special

from bench.stats.effect import add_errors, t_test

# A profile is a step curve with a step an arena: fewer make no curve.
MIN_PROFILE_ARENAS = 5


@dataclass(frozen=True, kw_only=True)
class PooledEffect:
    """A mean of effects over arenas; it speaks of these arenas only."""

    mean: float
    interval: tuple[float, float]
    p: float
    df: float


def pool_effects(effects: Sequence[tuple[float, float, float]]) -> PooledEffect | None:
    """Return the mean effect over arenas, every arena with the same weight.

    Args:
        effects: Of each arena: mean, standard error and degrees of freedom.

    Returns:
        The mean with its 95 % t interval; None without an arena.

    Source: Welch 1947, "The generalization of 'Student's' problem"; Satterthwaite 1946, "An approximate
    distribution of estimates of variance components", for the degrees of freedom.
    """
    if not effects:
        return None
    m = len(effects)
    mean = math.fsum(effect[0] for effect in effects) / m
    se, df = add_errors([(error / m, df) for _, error, df in effects])
    reach = float(special.stdtrit(df, 0.975)) * se
    return PooledEffect(mean=mean, interval=(mean - reach, mean + reach), p=t_test(mean, se, df), df=df)


def adjust_fdr(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted so that claims below q hold a share of at most q of false ones, on average.

    Source: Benjamini and Hochberg 1995, "Controlling the false discovery rate", for independent tests or
    such that err together (Benjamini and Yekutieli 2001).
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index], reverse=True)
    adjusted = [1.0] * len(p_values)
    smallest = 1.0
    for place, index in enumerate(order):
        smallest = min(smallest, p_values[index] * len(p_values) / (len(p_values) - place))
        adjusted[index] = smallest
    return adjusted


def expect_false_arenas(num_arenas: int, alpha: float) -> float:
    """Return how many arenas would, on average, hold a false better or worse if no optimizers differed.

    Holm's adjustment keeps the chance of any false claim below `alpha` within an arena, not over a page.
    """
    return num_arenas * alpha


def improvement_probability(
    arenas: Sequence[tuple[Mapping[int, float], Mapping[int, float]]],
) -> tuple[float, tuple[float, float]] | None:
    """Return the chance that a seed ends lower than the reference on the same seed, with a 95 % interval.

    Args:
        arenas: Of each arena, seed -> loss of the optimizer and of the reference; ties count half.

    Returns:
        The mean over arenas of the share of seeds, and its interval; None when an arena has no common seed.

    Source: Agarwal et al. 2021, arXiv:2108.13264, section 4.3, made paired as in Bouthillier et al. 2021,
    arXiv:2103.03098; intervals by Wilson 1927, "Probable inference, the law of succession, and statistical
    inference", joined over arenas by Zou and Donner 2008, "Construction of confidence limits about effect
    measures: a general approach" (their equations 3 and 4).
    """
    chances, below, above = [], [], []
    for losses, reference in arenas:
        common = sorted(set(losses) & set(reference))
        if not common:
            return None
        wins = math.fsum(
            0.5 * (losses[seed] < reference[seed]) + 0.5 * (losses[seed] <= reference[seed])
            for seed in common
        )
        chance = wins / len(common)
        low, high = _wilson(chance, len(common))
        chances.append(chance)
        below.append(chance - low)
        above.append(high - chance)
    if not chances:
        return None
    mean, m = math.fsum(chances) / len(chances), len(chances)
    return mean, (max(0.0, mean - math.hypot(*below) / m), min(1.0, mean + math.hypot(*above) / m))


def performance_profile(
    costs: Mapping[str, Sequence[float | None]], reference: Sequence[float | None], ratios: Sequence[float]
) -> dict[str, list[float]] | None:
    """Return in what share of arenas each optimizer costs at most so many times what the reference does.

    Args:
        costs: Label -> its cost in each arena, such as steps to a target set before; None: never reached.
        reference: The reference's cost in each arena.
        ratios: Where the profile is read, such as 0.5, 1, 2.

    Returns:
        Label -> a share for each ratio; None below `MIN_PROFILE_ARENAS` arenas.

    Source: Dolan and More 2002, "Benchmarking optimization software with performance profiles",
    arXiv:cs/0102001. Deviation: the ratio is to the reference, not to the best, so that no optimizer's curve
    depends on which others ran. Where the reference never arrived, arriving is below any ratio.
    """
    if len(reference) < MIN_PROFILE_ARENAS:
        return None
    profiles = {}
    for label, row in costs.items():
        quotients = [
            math.inf if cost is None else 0.0 if base is None else cost / base
            for cost, base in zip(row, reference, strict=True)
        ]
        profiles[label] = [sum(value <= ratio for value in quotients) / len(quotients) for ratio in ratios]
    return profiles


def _wilson(share: float, n: int) -> tuple[float, float]:
    """Return the 95 % score interval of a share."""
    z = float(special.ndtri(0.975))
    center = (share + z * z / (2 * n)) / (1 + z * z / n)
    reach = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # The limits hold the share itself; the last bit of a sum may say otherwise.
    return max(0.0, min(share, center - reach)), min(1.0, max(share, center + reach))
