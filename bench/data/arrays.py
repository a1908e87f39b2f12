"""What every built-in data set is, so that the loop never asks which: tensors, batches, loss, metrics."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterator
from typing import Annotated, Literal, Self

import numpy as np
import torch
import torch.nn.functional as F
from msgspec import Meta
from torch import Tensor

from bench.errors import DataError
from bench.seeds import derive

# What a private random stream starts from, fixed in the YAML.
Seed = Annotated[int, Meta(ge=0)]
# Items per validation or prediction chunk: bounds the memory, changes no sum beyond its rounding.
CHUNK = 4096
# The two halves of the validation items.
Part = Literal["search", "report"]


class Arrays:
    """A data set held whole as tensors on one device.

    Args:
        task: `regression` (squared error) or `classification` (cross-entropy).
        item: What one item is, in the singular.
        input_kind: What a model must accept: a vector per item, or an image (channels, height, width).
        num_outputs: Columns a model must give: target columns, or classes.
        sha256: `digest` of the decoded source arrays.
        train: Inputs `(num_train, *input_shape)` and targets: `(num_train, num_outputs)` float32 for
            regression, `(num_train,)` int64 for classification.
        val: The same for the held-out items.
    """

    def __init__(
        self,
        *,
        task: Literal["regression", "classification"],
        item: str,
        input_kind: Literal["features", "image"],
        num_outputs: int,
        sha256: str,
        train: tuple[Tensor, Tensor],
        val: tuple[Tensor, Tensor],
    ) -> None:
        self.task = task
        self.item = item
        self.input_kind = input_kind
        self.num_outputs = num_outputs
        self.sha256 = sha256
        self.train_inputs, self.train_targets = train
        self.val_inputs, self.val_targets = val
        self.input_shape: tuple[int, ...] = tuple(self.train_inputs.shape[1:])
        self.num_train_items = len(self.train_inputs)
        self.num_val_items = len(self.val_inputs)
        # The newest epoch's order and what it belongs to: a memo, never a state.
        self._order: Tensor | None = None
        self._order_of: tuple[int, int] | None = None

    def to(self, device: torch.device | str) -> Self:
        """Return the data set on a device: a new object; tensors already there are shared."""
        moved = copy.copy(self)
        for name in ("train_inputs", "train_targets", "val_inputs", "val_targets"):
            setattr(moved, name, getattr(self, name).to(device))
        moved._order = moved._order_of = None
        return moved

    def train_batch(self, seed: int, step: int, batch_size: int) -> tuple[Tensor, Tensor]:
        """Return one training batch: a pure function of its arguments, whatever was asked before.

        Each epoch is a new permutation of all items, without its incomplete last batch. Calls that alternate
        between seeds are right but draw a permutation each: give every seed its own object by `to`.

        Args:
            seed: The run's seed.
            step: Step of the run, from 0.
            batch_size: Items; as many as there are, or more, mean the whole training set in stored order.

        Returns:
            Inputs `(batch, *input_shape)` and their targets.
        """
        if batch_size >= self.num_train_items:
            return self.train_inputs, self.train_targets
        epoch, place = divmod(step, self.num_train_items // batch_size)
        if self._order is None or self._order_of != (seed, epoch):
            # Drawn on the CPU, so that every device sees the same order; moved once an epoch.
            generator = torch.Generator("cpu").manual_seed(derive(seed, "order", epoch))
            order = torch.randperm(self.num_train_items, generator=generator)
            self._order = order.to(self.train_inputs.device)
            self._order_of = (seed, epoch)
        rows = self._order.narrow(0, place * batch_size, batch_size)
        return self.train_inputs.index_select(0, rows), self.train_targets.index_select(0, rows)

    def val_batches(self, part: Part) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield one half of the validation items, each once, in stored order, at most `CHUNK` at a time.

        Args:
            part: `search` is what settings are chosen by, `report` what is reported: no item is in both.
        """
        # Every other item: where the stored order is by class, both halves hold all classes alike.
        half = slice(0 if part == "search" else 1, None, 2)
        yield from zip(chunks(self.val_inputs[half]), chunks(self.val_targets[half]), strict=True)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss summed over items, in float32.

        Args:
            outputs: `(batch, num_outputs)`, any float format; logits for classification.
            targets: As in the constructor.

        Returns:
            A scalar: cross-entropy in nats, or squared error averaged over the columns of each item.
        """
        if self.task == "classification":
            return F.cross_entropy(outputs.float(), targets, reduction="sum")
        return F.mse_loss(outputs.float(), targets, reduction="sum") / self.num_outputs

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Return sums over items that `summarise` turns into metrics, as scalars still on the device."""
        if self.task == "classification":
            return {"accuracy": (outputs.argmax(dim=-1) == targets).sum()}
        return {}

    def summarise(self, val_loss: float, means: dict[str, float]) -> dict[str, float]:
        """Return the validation metrics of a whole pass.

        Args:
            val_loss: Mean loss over the items of the pass.
            means: What `metrics` gave, added up over the pass and divided by its items.

        Returns:
            `accuracy` as a share of the items, for classification.
        """
        return means

    def artifacts(self, predict: Callable[[Tensor], Tensor]) -> dict[str, bytes]:
        """Return files worth keeping beside a result, by name; most data sets have none.

        Args:
            predict: The trained model: inputs `(batch, *input_shape)` to outputs `(batch, num_outputs)`.
        """
        return {}


def chunks(items: Tensor) -> Iterator[Tensor]:
    """Yield views of at most `CHUNK` items each, in order."""
    for start in range(0, len(items), CHUNK):
        yield items[start : start + CHUNK]


def digest(*arrays: np.ndarray) -> str:
    """Return the sha256 of arrays: of each one's dtype, shape and bytes, little-endian and row by row.

    Args:
        arrays: Source arrays as decoded, before anything is computed from them.

    Returns:
        64 hexadecimal digits, the same on every machine.
    """
    sha = hashlib.sha256()
    for array in arrays:
        array = array.astype(array.dtype.newbyteorder("<"), order="C")
        # One-byte kinds have no order, and say "|".
        sha.update(f"{array.dtype.str}{array.shape}".encode())
        sha.update(array.tobytes())
    return sha.hexdigest()


def require(key: str, holds: bool, wants: str, got: object) -> None:
    """Raise a DataError that names the argument unless a condition holds."""
    if not holds:
        raise DataError(f"data.{key}: wants {wants}, got {got!r}")
