"""Paired statistics for a handful of seeds: intervals that cover, and p-values that survive many comparisons.

With 3 to 10 seeds the t interval of paired differences covers 94 to 95 %, where bootstrap intervals cover
71 to 92 % (Owen 2025, arXiv:2508.10083, on BCa in small samples; our own simulation agrees): so t it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from scipy import special

# Fewer pairs than this carry no interval: at n = 2 its half-width is 9 standard deviations.
MIN_PAIRS = 3


@dataclass(frozen=True, kw_only=True)
class Effect:
    """A paired difference to the reference, on the workload's scale (log-ratio or plain difference)."""

    n: int
    mean: float
    # Of the paired differences; None for a single pair.
    sd: float | None
    # 95 % t interval; None below MIN_PAIRS.
    interval: tuple[float, float] | None
    # 90 % t interval: two one-sided tests at 5 % each.
    interval_90: tuple[float, float] | None
    # Two-sided, of mean difference 0, before any adjustment.
    p: float | None


def paired_effect(
    losses: Mapping[int, float],
    reference: Mapping[int, float],
    scale: Literal["log_ratio", "difference"],
) -> Effect | None:
    """Compare two optimizers on the seeds that both ran.

    Args:
        losses: Seed -> final loss.
        reference: Seed -> final loss of the reference.
        scale: "log_ratio": log(loss / reference loss); "difference": loss - reference loss.

    Returns:
        The effect (negative: lower loss than the reference), or None without a common seed, or when a
        log-ratio is asked of a loss that is not above 0.

    Source: Student 1908, "The probable error of a mean", for the interval and p of paired differences.
    """
    differences = []
    for seed in sorted(set(losses) & set(reference)):
        mine, other = losses[seed], reference[seed]
        if scale == "log_ratio":
            if mine <= 0 or other <= 0:
                return None
            differences.append(math.log(mine) - math.log(other))
        else:
            differences.append(mine - other)
    if not differences:
        return None
    n = len(differences)
    mean = math.fsum(differences) / n
    if n < 2:
        return Effect(n=n, mean=mean, sd=None, interval=None, interval_90=None, p=None)
    sd = math.sqrt(math.fsum((value - mean) ** 2 for value in differences) / (n - 1))
    if n < MIN_PAIRS:
        return Effect(n=n, mean=mean, sd=sd, interval=None, interval_90=None, p=None)
    return Effect(
        n=n,
        mean=mean,
        sd=sd,
        interval=t_interval(mean, sd, n, 0.95),
        interval_90=t_interval(mean, sd, n, 0.90),
        p=t_test(mean, sd, n),
    )


def t_interval(mean: float, sd: float, n: int, level: float) -> tuple[float, float]:
    """Return the two-sided t interval of a mean.

    Args:
        mean: Of the sample.
        sd: Of the sample, with n - 1 degrees of freedom.
        n: Sample size, at least 2.
        level: Coverage, such as 0.95.
    """
    half_width = float(special.stdtrit(n - 1, 0.5 + level / 2)) * sd / math.sqrt(n)
    return mean - half_width, mean + half_width


def t_test(mean: float, sd: float, n: int) -> float:
    """Return the two-sided p-value of mean 0; a sample without spread is certain: 1 at mean 0, else 0."""
    standard_error = sd / math.sqrt(n)
    if standard_error == 0:
        return 1.0 if mean == 0 else 0.0
    return float(2 * special.stdtr(n - 1, -abs(mean) / standard_error))


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


def is_within_margin(effect: Effect, margin: float) -> bool:
    """Return whether the 90 % interval lies inside +-margin: equivalence by two one-sided tests.

    Source: Schuirmann 1987, "A comparison of the two one-sided tests procedure".
    """
    if effect.interval_90 is None:
        return False
    low, high = effect.interval_90
    return -margin < low and high < margin


def count_more_seeds(effect: Effect, margin: float, at_most: int = 1000) -> int | None:
    """Return how many more seeds would shrink the 95 % half-width to the margin; None: over `at_most`."""
    if effect.sd is None:
        return None
    for n in range(max(effect.n, MIN_PAIRS), effect.n + at_most + 1):
        low, high = t_interval(0.0, effect.sd, n, 0.95)
        if high - low <= 2 * margin:
            return n - effect.n
    return None


def summarise(values: Sequence[float]) -> tuple[float, float | None]:
    """Return the mean and the sample standard deviation (None for one value) of at least one value."""
    mean = math.fsum(values) / len(values)
    if len(values) < 2:
        return mean, None
    return mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
