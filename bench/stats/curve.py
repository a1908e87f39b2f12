"""What a search tells beside its winner: what tuning buys, how exact the lr must be, and over what range."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise

# lr and its loss; None: it diverged or failed.
Point = tuple[float, float | None]


def expected_best(losses: Sequence[float], k: int) -> float:
    """Return the expected loss of the best of k trials.

    The plug-in estimator: k draws with replacement from the trials that ran. It is biased upwards, yet it
    orders two optimizers wrongly less often than the unbiased one (Tang et al. 2020). It takes the trials as
    drawn alike: true of random and quasi-random ones, fair for a grid, untrue of an adaptive sampler.

    Args:
        losses: One a trial; a trial that failed counts as what the caller holds it worth.
        k: From 1 to the number of trials: nothing is said beyond what ran.

    Raises:
        ValueError: k is not such a number.

    Source: Dodge et al. 2019, "Show Your Work", arXiv:1909.03004, equations 6 to 8; Tang et al. 2020,
    "Showing Your Work Doesn't Always Work", arXiv:2004.13705.
    """
    n = len(losses)
    if not 1 <= k <= n:
        raise ValueError(f"k: wants 1 to {n}, the trials that ran, got {k}")
    # P(the best is of this rank or worse) less P(worse): the plug-in probability of each rank.
    return math.fsum(
        loss * (((n - rank) / n) ** k - ((n - rank - 1) / n) ** k) for rank, loss in enumerate(sorted(losses))
    )


def lr_sensitivity(points: Iterable[Point], decades: float = 1.0, worst: float | None = None) -> float | None:
    """Return the mean excess loss over an lr window around the best lr: 0 means that no lr there is worse.

    Args:
        points: The loss at each lr tried, in any order.
        decades: The window's reach on either side of the best lr; what lies beyond the lrs tried is left out.
        worst: The most that an lr counts as, and what a diverged one counts as: the loss before training;
            None: the largest loss in the points.

    Returns:
        On the loss's own scale; None when the window holds fewer than two of the lrs tried.

    Source: Wortsman et al. 2023, "Small-scale proxies for large-scale Transformer training instabilities",
    arXiv:2309.14322. Deviation: the mean over the window is the integral of the curve drawn straight between
    its points over log lr, so that it does not depend on how densely each part was tried.
    """
    ordered = sorted(points, key=lambda point: point[0])
    best = _find_best(ordered)
    if best is None:
        return None
    lr, least = best
    most = max(loss for _, loss in ordered if loss is not None) if worst is None else max(worst, least)
    center = math.log10(lr)
    # A grid point on the window's edge belongs to it, whatever its last bit says.
    inside = [
        (math.log10(x), min(most, most if loss is None else loss) - least)
        for x, loss in ordered
        if abs(math.log10(x) - center) <= decades + 1e-9
    ]
    if len(inside) < 2:
        return None
    area = math.fsum((right[0] - left[0]) * (left[1] + right[1]) / 2 for left, right in pairwise(inside))
    return area / (inside[-1][0] - inside[0][0])


def usable_lr_width(points: Iterable[Point], tolerance: float = 0.01) -> float | None:
    """Return over how many decades of lr, without a gap around the best, the loss stays near the best.

    Between two lrs the loss is drawn straight over log lr; next to a diverged lr the range ends at the last
    lr that has a loss. It also ends at the last lr tried, so an optimum on the edge gives a lower bound.

    Args:
        points: The loss at each lr tried, in any order.
        tolerance: The largest excess that is near, as a share of the best loss's size.

    Returns:
        Decades, at least 0; None when no lr has a loss.

    Source: our own, a companion to Wortsman et al. 2023, arXiv:2309.14322.
    """
    ordered = sorted(points, key=lambda point: point[0])
    best = _find_best(ordered)
    if best is None:
        return None
    lr, least = best
    limit = least + tolerance * abs(least)
    below = [point for point in reversed(ordered) if point[0] <= lr]
    above = [point for point in ordered if point[0] >= lr]
    return _reach(below, limit) + _reach(above, limit)


def _find_best(ordered: Sequence[Point]) -> tuple[float, float] | None:
    """Return lr and loss of the least loss; among equals the smallest lr."""
    return min(((lr, loss) for lr, loss in ordered if loss is not None), key=lambda x: x[1], default=None)


def _reach(side: Sequence[Point], limit: float) -> float:
    """Return how many decades from its first point on a curve stays under the limit."""
    reach = 0.0
    for (lr, loss), (next_lr, next_loss) in pairwise(side):
        if loss is None or next_loss is None:
            break
        step = abs(math.log10(next_lr) - math.log10(lr))
        if next_loss > limit:
            return reach + step * max(0.0, limit - loss) / (next_loss - loss)
        reach += step
    return reach
