"""The seam for data: what every data set promises, so that the loop never asks which one it has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Annotated, Literal, Self

import torch
from msgspec import Meta
from torch import Tensor

from bench.errors import DataError

# What a private random stream starts from, fixed in the YAML.
Seed = Annotated[int, Meta(ge=0)]
# The two halves of the validation rows.
Part = Literal["search", "report"]
# What a model must accept: a vector a row; an image (channels, height, width); whole numbers (length,);
# a dict of a noised image and its time; or nothing but a place of its own.
InputKind = Literal["features", "image", "tokens", "noised", "point"]
# One tensor, or several by position or by name, each with the rows first.
Inputs = Tensor | tuple[Tensor, ...] | dict[str, Tensor]


class DataSet(ABC):
    """Rows to train on and rows held out; a row is one input of a model, and holds one or more items.

    Attributes:
        item: What one item is, in the singular: losses are means over items, throughput counts them.
        items_per_row: Items in one row: the length of a token sequence, else 1.
        input_kind: What a model must accept.
        input_shape: Shape of one row's input; of the image where it is noised.
        num_outputs: Columns a model gives: target columns, classes, or the vocabulary's size.
        num_train_rows: Rows to train on.
        num_val_rows: Rows held out.
        sha256: Hash of the decoded source, before anything is computed from it.
    """

    item: str
    items_per_row: int = 1
    input_kind: InputKind
    input_shape: tuple[int, ...]
    num_outputs: int
    num_train_rows: int
    num_val_rows: int
    sha256: str

    @abstractmethod
    def to(self, device: torch.device | str) -> Self:
        """Return the data set on a device: a new object; tensors already there are shared."""

    @abstractmethod
    def train_batch(self, seed: int, step: int, batch_size: int) -> tuple[Inputs, Tensor]:
        """Return one training batch: a pure function of its arguments, whatever was asked before.

        Args:
            seed: The run's seed.
            step: Step of the run, from 0.
            batch_size: Rows; as many as there are, or more, mean all of them in stored order.

        Returns:
            Inputs `(batch, *input_shape)` and their targets, rows first.
        """

    def train_batches(self, seeds: tuple[int, ...], step: int, batch_size: int) -> tuple[Inputs, Tensor]:
        """Return the training batches of several runs at one step, stacked.

        A data set that can gather them at once does so here; the numbers are those of `train_batch`.

        Args:
            seeds: The runs' seeds; some may be the same.
            step: Step of the runs, from 0.
            batch_size: As in `train_batch`.

        Returns:
            Inputs `(len(seeds), batch, *input_shape)` and their targets, runs first.
        """
        batches = {seed: self.train_batch(seed, step, batch_size) for seed in dict.fromkeys(seeds)}
        inputs = [batches[seed][0] for seed in seeds]
        return _stack(inputs), torch.stack([batches[seed][1] for seed in seeds])

    @abstractmethod
    def val_batches(self, part: Part) -> Iterator[tuple[Inputs, Tensor]]:
        """Yield one half of the validation rows, each once, in stored order, in chunks of bounded size.

        Args:
            part: `search` is what settings are chosen by, `report` what is reported: no row is in both.
        """

    @abstractmethod
    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss summed over items, in float32, as a scalar."""

    def count_items(self, targets: Tensor) -> int:
        """Return how many items a batch holds."""
        return len(targets) * self.items_per_row

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Return sums over items that `summarise` turns into metrics, as scalars still on the device."""
        return {}

    def summarise(self, val_loss: float, means: dict[str, float]) -> dict[str, float]:
        """Return the validation metrics of a whole pass.

        Args:
            val_loss: Mean loss over the items of the pass.
            means: What `metrics` gave, added up over the pass and divided by its items.
        """
        return means

    def artifacts(self, predict: Callable[[Tensor], Tensor]) -> dict[str, bytes]:
        """Return files worth keeping beside a result, by name; most data sets have none.

        Args:
            predict: The trained model: inputs `(batch, *input_shape)` to outputs.
        """
        return {}

    def describe(self) -> dict[str, str]:
        """Return what `do=check` prints of the data beside its name and hash: label -> text in one line."""
        shape = " x ".join(map(str, self.input_shape))
        return {
            "rows": f"{self.num_train_rows:,} to train on, {self.num_val_rows:,} held out",
            "inputs": f"{self.input_kind}, {shape} a row",
            "outputs": f"{self.num_outputs:,}",
        }


def at_least_float32(outputs: Tensor) -> Tensor:
    """Return outputs in float32, or in float64 if that is what they are in."""
    return outputs if outputs.dtype == torch.float64 else outputs.float()


def _stack(inputs: list[Inputs]) -> Inputs:
    first = inputs[0]
    if isinstance(first, dict):
        return {name: torch.stack([one[name] for one in inputs]) for name in first}  # type: ignore[call-overload, index]
    if isinstance(first, tuple):
        return tuple(torch.stack(parts) for parts in zip(*inputs, strict=True))
    return torch.stack(inputs)  # type: ignore[arg-type]


def require(key: str, holds: bool, wants: str, got: object) -> None:
    """Raise a DataError that names the argument unless a condition holds."""
    if not holds:
        raise DataError(f"data.{key}: wants {wants}, got {got!r}")
