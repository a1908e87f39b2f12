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
        # The same of several seeds, (num_seeds, num_rows).
        self._stack: Tensor | None = None
        self._stack_of: tuple[tuple[int, ...], int, torch.device] | None = None

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
            self._rows = self._draw(seed, epoch).to(device)
            self._rows_of = key
        return self._rows.narrow(0, place * batch_size, batch_size)

    def stack_rows(self, seeds: tuple[int, ...], step: int, batch_size: int, device: torch.device) -> Tensor:
        """Return the rows of one step of several runs, int64, `(len(seeds), batch_size)`; see `rows`.

        Args:
            seeds: The runs' seeds; the order of each is drawn once an epoch, so the fewer differ the better.
            step: Step of the runs, from 0.
            batch_size: Rows, fewer than there are.
            device: Where the indices are wanted.
        """
        epoch, place = divmod(step, self._num_rows // batch_size)
        key = (seeds, epoch, device)
        if self._stack is None or self._stack_of != key:
            drawn = {seed: self._draw(seed, epoch) for seed in set(seeds)}
            self._stack = torch.stack([drawn[seed] for seed in seeds]).to(device)
            self._stack_of = key
        return self._stack.narrow(1, place * batch_size, batch_size)

    def _draw(self, seed: int, epoch: int) -> Tensor:
        generator = torch.Generator("cpu").manual_seed(derive(seed, "order", epoch))
        return torch.randperm(self._num_rows, generator=generator)
