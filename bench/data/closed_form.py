"""Functions with a known minimum and a known noise: what optimizers do on them can be checked by theory."""

from __future__ import annotations

import copy
import hashlib
from abc import abstractmethod
from collections.abc import Iterator
from typing import ClassVar, Self

import torch
from torch import Tensor

from bench.data.dataset import DataSet, Inputs, Part, at_least_float32, require
from bench.seeds import derive

# Draws are endless; this many in one batch are all there are, so that a batch of everything has a size.
NUM_ROWS = 2**16


class ClosedForm(DataSet):
    """A function of a place, whose gradient is seen through noise in training and exactly in validation.

    A row is one draw of the noise, and a batch averages its rows' gradients. The model is the place itself:
    it gives the same place for every row. Training and validation losses are the function's exact value;
    noise only enters the gradient, through a term that is always 0. The minimum lies where every coordinate
    is 1: a place that starts at 0 starts away from it, and weight decay pulls away from it.

    Args:
        num_dimensions: Length of a place.
        noise: Strength of the noise; 0: none.

    Raises:
        DataError: An argument is out of range; the line names its key.
    """

    # What is computed, in words: there is no other source to take a hash of.
    formula: ClassVar[str]

    def __init__(self, *, num_dimensions: int, noise: float) -> None:
        require("num_dimensions", num_dimensions >= 2, "a whole number >= 2", num_dimensions)
        require("noise", noise >= 0, "a number >= 0", noise)
        self.item = "draw"
        self.input_kind = "point"
        self.input_shape = (num_dimensions,)
        self.num_outputs = num_dimensions
        self.num_train_rows = NUM_ROWS
        # One for each half: without noise they are the same.
        self.num_val_rows = 2
        self.sha256 = hashlib.sha256(self.formula.encode()).hexdigest()
        self.noise = noise
        self._device = torch.device("cpu")

    @abstractmethod
    def value(self, coordinates: Tensor) -> Tensor:
        """Return the function's value, (batch,), at coordinates `(batch, num_dimensions)`."""

    @abstractmethod
    def slope_error(self, coordinates: Tensor, draws: Tensor) -> Tensor:
        """Return what noise adds to the gradient, like coordinates; draws are standard normal."""

    def coordinates(self, places: Tensor) -> Tensor:
        """Return the coordinates in which the function is written, of places `(batch, num_dimensions)`."""
        return places

    def to(self, device: torch.device | str) -> Self:
        """Return the function on a device: a new object."""
        moved = copy.copy(self)
        moved._device = torch.device(device)
        return moved

    def train_batch(self, seed: int, step: int, batch_size: int) -> tuple[Inputs, Tensor]:
        """Return a step's draws as inputs and as targets, `(batch, num_dimensions)`; see `DataSet`."""
        generator = torch.Generator("cpu").manual_seed(derive(seed, "noise", step))
        num_rows = min(batch_size, self.num_train_rows)
        draws = torch.randn(num_rows, self.num_outputs, generator=generator).to(self._device)
        return draws, draws

    def val_batches(self, part: Part) -> Iterator[tuple[Inputs, Tensor]]:
        """Yield one row without noise; see `DataSet`."""
        draws = torch.zeros(1, self.num_outputs, device=self._device)
        yield draws, draws

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the function's value summed over rows, in float32; its gradient has the noise in it.

        Args:
            outputs: The place, once a row: `(batch, num_dimensions)`.
            targets: Draws of the noise, of the same shape.
        """
        coordinates = self.coordinates(at_least_float32(outputs))
        fixed = coordinates.detach()
        error = (coordinates - fixed) * self.slope_error(fixed, targets)
        return (self.value(coordinates) + error.sum(dim=-1)).sum()

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Return `distance` from the minimum, as a sum over rows."""
        return {"distance": (self.coordinates(at_least_float32(outputs)) - 1).norm(dim=-1).sum()}

    def describe(self) -> dict[str, str]:
        """Return what `do=check` prints, with the formula."""
        drawn = "a fresh draw of the noise each; held out: the exact value"
        return super().describe() | {"rows": drawn, "formula": self.formula}
