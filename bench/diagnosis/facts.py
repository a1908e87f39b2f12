"""What the rules ask of a curve: its numbers without gaps, how it fell, and what the gradients were."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from bench.health import Watch
from bench.result import Result


class Facts(NamedTuple):
    """A curve's numbers, points without a value left out."""

    # Validation loss before training.
    start: float
    # Step and loss after it: (step, loss).
    val: list[tuple[int, float]]
    train: list[tuple[int, float]]

    def share(self, loss: float) -> float:
        """Return how far a loss lies below the one before training, as a share of it."""
        return (self.start - loss) / (abs(self.start) or 1.0)


def collect(result: Result) -> Facts | None:
    curve = result.curve
    val = [(step, loss) for step, loss in zip(curve.step, curve.val_loss, strict=True) if loss is not None]
    train = [
        (step, loss) for step, loss in zip(curve.step, curve.train_loss, strict=True) if loss is not None
    ]
    if not val or val[0][0] != 0:
        return None
    return Facts(val[0][1], val[1:], train)


def is_gradual(facts: Facts) -> bool:
    """Return whether training fell from point to point, and not all at once at its beginning."""
    losses = [loss for _, loss in facts.train]
    falls = [after < before for before, after in pairwise(losses)]
    half = (facts.start + losses[-1]) / 2
    step = next((step for step, loss in facts.train if loss <= half), 0)
    return sum(falls) >= 0.7 * len(falls) and step > facts.train[-1][0] / 4


def total_norms(watch: Watch | None) -> list[tuple[int, float]]:
    """Return step and norm over all layers of the samples that are finite throughout."""
    rows: Sequence[tuple[int, tuple[float | None, ...]]] = (
        [] if watch is None else list(zip(watch.step, watch.gradient_norm, strict=True))
    )
    return [
        (step, math.hypot(*(norm for norm in norms if norm is not None)))
        for step, norms in rows
        if None not in norms
    ]


def from_to(start: float, end: float) -> str:
    return f"{start:.3g} to {end:.3g}"
