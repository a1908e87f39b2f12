"""Which rows a step trains on: a new permutation each epoch, drawn from (seed, epoch) alone."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.seeds import derive


class Order:
    """The order of a run's rows, asked for by step; it remembers the newest epoch and nothing else.

    Args:
        num_rows: Rows there are.
    """

    def __init__(self, num_rows: int) -> None:
        self._num_rows = num_rows
        # The newest epoch's order and what it belongs to: a memo, never a state.
        self._rows: Tensor | None = None
        self._rows_of: tuple[int, int, torch.device] | None = None

    def rows(self, seed: int, step: int, batch_size: int, device: torch.device) -> Tensor:
        """Return the rows of one step; each epoch is without its incomplete last batch.

        Calls that alternate between seeds are right but draw a permutation each.

        Args:
            seed: The run's seed.
            step: Step of the run, from 0.
            batch_size: Rows, fewer than there are.
            device: Where the indices are wanted.

        Returns:
            Row numbers, int64, shape (batch_size,).
        """
        epoch, place = divmod(step, self._num_rows // batch_size)
        key = (seed, epoch, device)
        if self._rows is None or self._rows_of != key:
            # Drawn on the CPU, so that every device sees the same order; moved once an epoch.
            generator = torch.Generator("cpu").manual_seed(derive(seed, "order", epoch))
            self._rows = torch.randperm(self._num_rows, generator=generator).to(device)
            self._rows_of = key
        return self._rows.narrow(0, place * batch_size, batch_size)
