"""Rosenbrock's curved valley: a descent that is easy to start and slow to finish without momentum."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch.nn.functional as F
from msgspec import Meta
from torch import Tensor

from bench.data.closed_form import ClosedForm
from bench.kinds import NonNegative

# About what float32 resolves: one place next to the minimum differs by as much. It keeps logarithms of the
# loss finite, and calls a tie what is rounding.
FLOOR = 1e-11

Dimensions = Annotated[int, Meta(ge=2)]


class Rosenbrock(ClosedForm):
    """The sum over neighbours of 100 (y - x^2)^2 + (1 - x)^2; each slope is off by a random share of itself.

    Source: Rosenbrock, 1960, doi 10.1093/comjnl/3.3.175. Deviations: more than two dimensions; the noise;
    and the start at 0, as lrs that are good from the usual (-1.2, 1) diverge there now and then.

    Args:
        num_dimensions: Length of a place.
        noise: Standard deviation of a partial derivative over its size.

    Raises:
        DataError: An argument is out of range; the line names its key.
    """

    formula: ClassVar[str] = (
        f"{FLOOR:g} + sum of 100 (x_(i+1) - x_i^2)^2 + (1 - x_i)^2 over i = 1 ... n - 1; "
        "each partial derivative times 1 + noise N(0, 1)"
    )

    def __init__(self, *, num_dimensions: Dimensions, noise: NonNegative) -> None:
        super().__init__(num_dimensions=num_dimensions, noise=noise)

    def value(self, coordinates: Tensor) -> Tensor:
        """Return the value, (batch,)."""
        x, y = coordinates[..., :-1], coordinates[..., 1:]
        return (100 * (y - x.square()).square() + (1 - x).square()).sum(dim=-1) + FLOOR

    def slope_error(self, coordinates: Tensor, draws: Tensor) -> Tensor:
        """Return `noise` times the draw times each partial derivative."""
        x, y = coordinates[..., :-1], coordinates[..., 1:]
        above = y - x.square()
        slopes = F.pad(-400 * x * above - 2 * (1 - x), (0, 1)) + F.pad(200 * above, (1, 0))
        return self.noise * draws * slopes
