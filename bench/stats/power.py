"""What a number of seeds can tell: the smallest gap they see, and how many seeds a gap takes."""

from __future__ import annotations

import math

from scipy import special

from bench.stats.claim import ALPHA
from bench.stats.effect import MIN_PAIRS

# The chance with which a gap that is there is to be seen (Cohen 1988's convention).
POWER = 0.8
# Two optimizers closer than this, in pooled sds, count as tied on a workload: about the smallest gap that
# 5 seeds each see unpaired (2.02).
TELLING_GAP = 2.0
_BISECTIONS = 100


def detection_power(gap: float, sd: float, n: int, *, is_paired: bool) -> float:
    """Return the chance that a two-sided t test at ALPHA calls a gap that is there.

    Args:
        gap: Between the true means, on the scale of the differences (log-ratio or plain).
        sd: Paired: of the differences seed by seed. Unpaired: over the seeds of one side, alike on both.
        n: Seeds, unpaired: of each side; at least 2.
        is_paired: Whether seeds are compared one by one.

    Source: Johnson and Welch 1940, "Applications of the non-central t-distribution", Biometrika 31; used as
    in Cohen 1988, "Statistical Power Analysis for the Behavioral Sciences", chapter 2.
    """
    if sd == 0:
        return float(gap != 0)
    df = n - 1 if is_paired else 2 * (n - 1)
    return _power(df, abs(gap) / sd * _precision(n, is_paired=is_paired))


def smallest_gap(sd: float, n: int, *, is_paired: bool, power: float = POWER) -> float | None:
    """Return the smallest gap that n seeds see with this power; None below MIN_PAIRS, where none is claimed.

    Args:
        sd: As for `detection_power`; the gap is on its scale.
        n: Seeds, unpaired: of each side.
        is_paired: Whether seeds are compared one by one.
        power: The chance to see it.

    Source: as `detection_power`, solved for the gap: at 5 seeds a rule by the normal distribution, such as
    2.8 sd / sqrt(n), promises a gap a quarter too small.
    """
    if n < MIN_PAIRS:
        return None
    df = n - 1 if is_paired else 2 * (n - 1)
    low, high = 0.0, 1.0
    while _power(df, high) < power:
        high *= 2
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if _power(df, middle) < power else (low, middle)
    return high * sd / _precision(n, is_paired=is_paired)


def count_seeds(
    gap: float, sd: float, *, is_paired: bool, power: float = POWER, at_most: int = 1000
) -> int | None:
    """Return the fewest seeds (unpaired: of each side) that see a gap with this power; None: over `at_most`.

    Args:
        gap: Above 0, on the scale of `sd`.
        sd: As for `detection_power`.
        is_paired: Whether seeds are compared one by one.
        power: The chance to see it.
        at_most: Where to stop looking.

    Source: as `detection_power`. Deviation: never fewer than MIN_PAIRS.
    """
    if detection_power(gap, sd, at_most, is_paired=is_paired) < power:
        return None
    low, high = MIN_PAIRS - 1, at_most
    # More seeds never see less.
    while high - low > 1:
        middle = (low + high) // 2
        if detection_power(gap, sd, middle, is_paired=is_paired) < power:
            low = middle
        else:
            high = middle
    return high


def log_moments(mean: float, sd: float) -> tuple[float, float]:
    """Return mean and sd of the log of a positive quantity that has this mean and sd, taken as log-normal.

    Source: Aitchison and Brown 1957, "The Lognormal Distribution", section 2.3.
    """
    variance = math.log1p((sd / mean) ** 2)
    return math.log(mean) - variance / 2, math.sqrt(variance)


def standardised_gap(first: tuple[float, float], second: tuple[float, float]) -> float:
    """Return how far two means lie apart, in pooled sds; each side as mean and sd; infinite without spread.

    Source: Cohen 1988, "Statistical Power Analysis for the Behavioral Sciences", equation 2.2.1, sides of
    equal size.
    """
    gap = abs(first[0] - second[0])
    pooled = math.hypot(first[1], second[1]) / math.sqrt(2)
    if pooled == 0:
        return math.inf if gap else 0.0
    return gap / pooled


def _precision(n: int, *, is_paired: bool) -> float:
    """Return one over the standard error of the gap, for sd 1."""
    return math.sqrt(n if is_paired else n / 2)


def _power(df: int, noncentrality: float) -> float:
    critical = float(special.stdtrit(df, 1 - ALPHA / 2))
    # Far beyond any critical value the chance is 1, and older scipy gives no number.
    noncentrality = min(noncentrality, 1e3)
    below = float(special.nctdtr(df, noncentrality, critical))
    beyond = float(special.nctdtr(df, noncentrality, -critical))
    return 1 - below + beyond
