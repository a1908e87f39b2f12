"""Token sequences: windows of a long text, each with the same text one token later as its target."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import Protocol, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.data.dataset import DataSet, Inputs, Part, at_least_float32, require
from bench.data.order import Order
from bench.errors import DataError
from bench.seeds import derive

# Tokens, and logits, per validation chunk: bounds the memory, changes no sum beyond its rounding.
CHUNK_TOKENS = 2**14
CHUNK_LOGITS = 2**28


class Source(Protocol):
    """A long row of tokens, wherever it lies."""

    def __len__(self) -> int:
        """Return how many tokens there are."""

    @property
    def index_device(self) -> torch.device:
        """Where the starts of windows are wanted."""

    def to(self, device: torch.device | str) -> Self:
        """Return a source whose windows come out on a device."""

    def windows(self, starts: Tensor, width: int) -> Tensor:
        """Return `(len(starts), width)` tokens, int64, each row from its start on."""


class Resident:
    """Tokens held whole on one device.

    Args:
        tokens: `(num_tokens,)`, uint8.
    """

    def __init__(self, tokens: Tensor) -> None:
        self._tokens = tokens

    def __len__(self) -> int:
        return len(self._tokens)

    @property
    def index_device(self) -> torch.device:
        """Where the tokens are."""
        return self._tokens.device

    def to(self, device: torch.device | str) -> Resident:
        """Return them on a device."""
        return Resident(self._tokens.to(device))

    def windows(self, starts: Tensor, width: int) -> Tensor:
        """Return `(len(starts), width)` tokens, int64; see `Source`."""
        return self._tokens[starts[:, None] + torch.arange(width, device=starts.device)].long()


class Tokens(DataSet):
    """Prediction of the next token at every position of a window.

    Training windows do not overlap and come in a new order each epoch, so an epoch sees every token once;
    where the first one starts is drawn anew each epoch, so no token is always a window's first. Validation
    windows do not overlap and are spread evenly over the held-out text.

    Args:
        item: What a token is called, in the singular.
        train: Tokens to train on.
        val: Tokens held out.
        num_outputs: Size of the vocabulary.
        length: Tokens a row: the context of a model.
        num_val_tokens: Held-out tokens to evaluate on, rounded down to whole windows, at most all.
        sha256: Of the decoded source.
        train_name: What the training side is called in a message; `val_name` likewise.

    Raises:
        DataError: A side is too short, or an argument out of range; the line names its key.
    """

    def __init__(
        self,
        *,
        item: str,
        train: Source,
        val: Source,
        num_outputs: int,
        length: int,
        num_val_tokens: int,
        sha256: str,
        train_name: str,
        val_name: str,
    ) -> None:
        require("length", length >= 1, "a whole number >= 1", length)
        at_least = f"a whole number >= {2 * length}, two windows"
        require("num_val_tokens", num_val_tokens >= 2 * length, at_least, num_val_tokens)
        # Two windows and the last one's target; in training the second is room for where the first starts.
        for name, source in ((train_name, train), (val_name, val)):
            if len(source) <= 2 * length:
                raise DataError(f"{name}: wants at least {2 * length + 1:,} {item}s, got {len(source):,}")
        self.num_train_rows = len(train) // length - 1
        num_val_windows = (len(val) - 1) // length
        self.num_val_rows = min(num_val_windows, num_val_tokens // length)
        self.item = item
        self.items_per_row = length
        self.input_kind = "tokens"
        self.input_shape = (length,)
        self.num_outputs = num_outputs
        self.sha256 = sha256
        self._train = train
        self._val = val
        windows = torch.arange(self.num_val_rows) * num_val_windows // self.num_val_rows
        self._val_starts = windows * length
        self._order = Order(self.num_train_rows)

    def to(self, device: torch.device | str) -> Self:
        """Return the data set on a device: a new object; tensors already there are shared."""
        moved = copy.copy(self)
        moved._train, moved._val = self._train.to(device), self._val.to(device)
        moved._order = Order(self.num_train_rows)
        return moved

    def train_batch(self, seed: int, step: int, batch_size: int) -> tuple[Inputs, Tensor]:
        """Return one training batch; see `DataSet`.

        Returns:
            Inputs and targets, int64 `(batch, length)`.
        """
        length, device = self.items_per_row, self._train.index_device
        if batch_size >= self.num_train_rows:
            return self._cut(self._train, torch.arange(self.num_train_rows, device=device) * length)
        epoch = step // (self.num_train_rows // batch_size)
        rows = self._order.rows(seed, step, batch_size, device)
        return self._cut(self._train, rows * length + derive(seed, "shift", epoch) % length)

    def train_batches(self, seeds: tuple[int, ...], step: int, batch_size: int) -> tuple[Inputs, Tensor]:
        """Return the training batches of several runs at one step, cut at once; see `DataSet`."""
        if batch_size >= self.num_train_rows:
            return super().train_batches(seeds, step, batch_size)
        length, device = self.items_per_row, self._train.index_device
        epoch = step // (self.num_train_rows // batch_size)
        rows = self._order.stack_rows(seeds, step, batch_size, device)
        shifts = torch.tensor([derive(seed, "shift", epoch) % length for seed in seeds], device=device)
        inputs, targets = self._cut(self._train, (rows * length + shifts[:, None]).flatten())
        return inputs.view(*rows.shape, -1), targets.view(*rows.shape, -1)

    def val_batches(self, part: Part) -> Iterator[tuple[Inputs, Tensor]]:
        """Yield one half of the validation windows, every other one; see `DataSet`."""
        starts = self._val_starts[0 if part == "search" else 1 :: 2].to(self._val.index_device)
        num_tokens = min(CHUNK_TOKENS, CHUNK_LOGITS // self.num_outputs)
        num_rows = max(1, num_tokens // self.items_per_row)
        for first in range(0, len(starts), num_rows):
            yield self._cut(self._val, starts[first : first + num_rows])

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the cross-entropy summed over tokens, in nats, in float32.

        Args:
            outputs: Logits `(batch, length, num_outputs)`, any float format.
            targets: `(batch, length)`, int64.
        """
        return F.cross_entropy(at_least_float32(outputs).flatten(0, 1), targets.flatten(), reduction="sum")

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Return `accuracy` as a sum over tokens."""
        return {"accuracy": (outputs.argmax(dim=-1) == targets).sum()}

    def summarise(self, val_loss: float, means: dict[str, float]) -> dict[str, float]:
        """Return `accuracy`, and `bits_per_byte` where a token is a byte."""
        bits = {"bits_per_byte": val_loss / math.log(2)} if self.item == "byte" else {}
        return means | bits

    def describe(self) -> dict[str, str]:
        """Return what `do=check` prints, with the length of both sides."""
        lines = super().describe()
        shown = self.num_val_rows * self.items_per_row
        lines[f"{self.item}s"] = (
            f"{len(self._train):,} to train on, {len(self._val):,} held out, {shown:,} of them evaluated"
        )
        return lines

    def _cut(self, source: Source, starts: Tensor) -> tuple[Tensor, Tensor]:
        # One token more than a window: targets are the inputs one later.
        windows = source.windows(starts, self.items_per_row + 1)
        return windows[:, :-1].contiguous(), windows[:, 1:].contiguous()
