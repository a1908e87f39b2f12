"""Data held whole as tensors on one device: what most built-in sets are."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator
from typing import Literal, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bench.data.dataset import DataSet, InputKind, Inputs, Part, at_least_float32
from bench.data.order import Order

# Rows per validation or prediction chunk: bounds the memory, changes no sum beyond its rounding.
CHUNK = 4096
# regression: squared error; classification: cross-entropy in nats; reconstruction: binary cross-entropy in
# nats against targets in [0, 1], from logits. What a row has several targets of is averaged over them.
Task = Literal["regression", "classification", "reconstruction"]


class Arrays(DataSet):
    """Rows held whole as tensors on one device; a row is one item.

    Args:
        task: What the loss is.
        item: What one item is, in the singular.
        input_kind: What a model must accept.
        num_outputs: Columns a model must give: target columns, or classes.
        sha256: `digest` of the decoded source arrays.
        train: Inputs `(num_train, ...)` as stored and targets: `(num_train,)` int64 for classification,
            else `(num_train, ...)` float32 with num_outputs numbers a row.
        val: The same for the rows held out.
        input_shape: Of one row as a model sees it; None: as stored.
    """

    # Whether `prepare` draws something anew for each training batch.
    is_drawn: bool = False

    def __init__(
        self,
        *,
        task: Task,
        item: str,
        input_kind: InputKind,
        num_outputs: int,
        sha256: str,
        train: tuple[Tensor, Tensor],
        val: tuple[Tensor, Tensor],
        input_shape: tuple[int, ...] | None = None,
    ) -> None:
        self.task = task
        self.item = item
        self.input_kind = input_kind
        self.num_outputs = num_outputs
        self.sha256 = sha256
        self.train_inputs, self.train_targets = train
        self.val_inputs, self.val_targets = val
        self.input_shape = tuple(self.train_inputs.shape[1:]) if input_shape is None else input_shape
        self.num_train_rows = len(self.train_inputs)
        self.num_val_rows = len(self.val_inputs)
        self._order = Order(self.num_train_rows)

    def to(self, device: torch.device | str) -> Self:
        """Return the data set on a device: a new object; tensors already there are shared."""
        moved = copy.copy(self)
        for name in ("train_inputs", "train_targets", "val_inputs", "val_targets"):
            setattr(moved, name, getattr(self, name).to(device))
        moved._order = Order(self.num_train_rows)
        return moved

    def train_batch(self, seed: int, step: int, batch_size: int) -> tuple[Inputs, Tensor]:
        """Return one training batch; see `DataSet`."""
        if batch_size >= self.num_train_rows:
            return self.prepare(self.train_inputs, (seed, step)), self.train_targets
        rows = self._order.rows(seed, step, batch_size, self.train_inputs.device)
        inputs = self.train_inputs.index_select(0, rows)
        return self.prepare(inputs, (seed, step)), self.train_targets.index_select(0, rows)

    def train_batches(self, seeds: tuple[int, ...], step: int, batch_size: int) -> tuple[Inputs, Tensor]:
        """Return the training batches of several runs at one step, gathered at once; see `DataSet`."""
        if batch_size >= self.num_train_rows or self.is_drawn:
            return super().train_batches(seeds, step, batch_size)
        rows = self._order.stack_rows(seeds, step, batch_size, self.train_inputs.device)
        inputs = self.prepare(self.train_inputs.index_select(0, rows.flatten()), (seeds[0], step))
        targets = self.train_targets.index_select(0, rows.flatten())
        return inputs.view(*rows.shape, *inputs.shape[1:]), targets.view(*rows.shape, *targets.shape[1:])

    def val_batches(self, part: Part) -> Iterator[tuple[Inputs, Tensor]]:
        """Yield one half of the validation rows; see `DataSet`."""
        # Every other row: where the stored order is by class, both halves hold all classes alike.
        half = slice(0 if part == "search" else 1, None, 2)
        for inputs, targets in zip(
            chunks(self.val_inputs[half]), chunks(self.val_targets[half]), strict=True
        ):
            yield self.prepare(inputs, None), targets

    def prepare(self, inputs: Tensor, position: tuple[int, int] | None) -> Tensor:
        """Return stored inputs as a model sees them: unchanged, unless a data set stores them otherwise.

        Args:
            inputs: Stored rows `(batch, ...)`.
            position: Seed and step of a training batch, which a random change may depend on and on nothing
                else; None in validation.
        """
        return inputs

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss summed over items, in float32.

        Args:
            outputs: `(batch, num_outputs)`, any float format; logits except for regression.
            targets: As in the constructor.
        """
        if self.task == "classification":
            return F.cross_entropy(at_least_float32(outputs), targets, reduction="sum")
        outputs = at_least_float32(outputs).flatten(1)
        targets = targets.flatten(1).to(outputs.dtype)
        if self.task == "reconstruction":
            total = F.binary_cross_entropy_with_logits(outputs, targets, reduction="sum")
        else:
            total = F.mse_loss(outputs, targets, reduction="sum")
        return total / self.num_outputs

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Return `accuracy` as a sum over items, for classification."""
        if self.task == "classification":
            return {"accuracy": (outputs.argmax(dim=-1) == targets).sum()}
        return {}

    def describe(self) -> dict[str, str]:
        """Return what `do=check` prints, with the rows of each class."""
        lines = super().describe()
        if self.task != "classification":
            return lines
        for side, targets in (("train", self.train_targets), ("held out", self.val_targets)):
            counts = torch.bincount(targets.cpu(), minlength=self.num_outputs).tolist()
            shown = " ".join(map(str, counts[:20])) + (" ..." if len(counts) > 20 else "")
            lines[f"rows a class, {side}"] = f"{shown} (min {min(counts)}, max {max(counts)})"
        return lines


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
