"""A noisy quadratic bowl, along the axes or rotated: scaling each coordinate helps in one and not in both."""

from __future__ import annotations

from typing import Annotated, ClassVar, Self

import numpy as np
import torch
from msgspec import Meta
from torch import Tensor

from bench.data.closed_form import ClosedForm
from bench.data.dataset import Seed, require
from bench.kinds import NonNegative

Dimensions = Annotated[int, Meta(ge=2)]
Condition = Annotated[float, Meta(ge=1)]


class Quadratic(ClosedForm):
    """Half the sum of curvature times squared distance, over directions; curvatures evenly spaced in logs.

    Source: Zhang et al., 2019, arXiv 1907.04164, section 2: gradient noise with the Hessian as covariance.
    Deviation: curvatures from 1 down to 1 / condition, where theirs are 1 / i.

    The directions are the axes, or one fixed random orthogonal basis. The start at 0, the spectrum and the
    noise are the same in either basis, so a method that does not depend on the basis, such as SGD with or
    without momentum, gives the same losses but for rounding.

    Args:
        num_dimensions: Length of a place.
        condition: Largest curvature, which is 1, over the smallest.
        noise: Standard deviation of a direction's gradient noise over the root of its curvature.
        is_rotated: Whether the directions are not the axes.
        rotation_seed: Of the basis' private stream.

    Raises:
        DataError: An argument is out of range; the line names its key.
    """

    formula: ClassVar[str] = (
        "sum of c_i (u_i - 1)^2 / 2, c_i = condition^(-i / (n - 1)) for i = 0 ... n - 1, "
        "u = Q^T x, Q = 1 or orthogonal; gradient along u_i + noise sqrt(c_i) N(0, 1)"
    )

    def __init__(
        self,
        *,
        num_dimensions: Dimensions,
        condition: Condition,
        noise: NonNegative,
        is_rotated: bool,
        rotation_seed: Seed,
    ) -> None:
        super().__init__(num_dimensions=num_dimensions, noise=noise)
        require("condition", condition >= 1, "a number >= 1", condition)
        require("rotation_seed", rotation_seed >= 0, "a whole number >= 0", rotation_seed)
        curvatures = np.geomspace(1, 1 / condition, num_dimensions)
        self._curvatures = torch.from_numpy(curvatures.astype(np.float32))
        # Columns are directions.
        self._basis = _draw_basis(num_dimensions, rotation_seed) if is_rotated else None

    def to(self, device: torch.device | str) -> Self:
        """Return the function on a device: a new object."""
        moved = super().to(device)
        moved._curvatures = self._curvatures.to(device)
        moved._basis = None if self._basis is None else self._basis.to(device)
        return moved

    def coordinates(self, places: Tensor) -> Tensor:
        """Return coordinates along the directions."""
        return places if self._basis is None else places @ self._basis

    def value(self, coordinates: Tensor) -> Tensor:
        """Return the value, (batch,)."""
        return (self._curvatures * (coordinates - 1).square()).sum(dim=-1) / 2

    def slope_error(self, coordinates: Tensor, draws: Tensor) -> Tensor:
        """Return noise whose covariance is the Hessian times `noise` squared."""
        return self.noise * self._curvatures.sqrt() * draws


def _draw_basis(num_dimensions: int, seed: int) -> Tensor:
    """Return an orthogonal matrix, uniform among all of them, float32 `(num_dimensions, num_dimensions)`."""
    stream = np.random.Generator(np.random.PCG64(seed))
    basis, triangle = np.linalg.qr(stream.standard_normal((num_dimensions, num_dimensions)))
    # Without it the signs are those of the algorithm rather than random (Mezzadri, 2007, math-ph/0609050).
    return torch.from_numpy((basis * np.sign(np.diag(triangle))).astype(np.float32))
