"""Which rows a step trains on: a new permutation each epoch, drawn from (seed, epoch) alone."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.seeds import derive


class Order:
    """The order of runs' rows, asked for by step; it remembers the newest epoch and nothing else.

    Args:
        num_rows: Rows there are.
    """

    def __init__(self, num_rows: int) -> None:
        self._num_rows = num_rows
        # Of one epoch, by whose it is: the step it was last asked for at, and the order of each seed,
        # (num_seeds, num_rows). A memo, never a state.
        self._epoch = -1
        self._drawn: dict[tuple[tuple[int, ...], torch.device], tuple[int, Tensor]] = {}

    def rows(self, seed: int, step: int, batch_size: int, device: torch.device) -> Tensor:
        """Return the rows of one step; each epoch is without its incomplete last batch.

        Calls that alternate between epochs are right but draw permutations each time.

        Args:
            seed: The run's seed.
            step: Step of the run, from 0.
            batch_size: Rows, fewer than there are.
            device: Where the indices are wanted.

        Returns:
            Row numbers, int64, shape (batch_size,).
        """
        return self.stack_rows((seed,), step, batch_size, device)[0]

    def stack_rows(self, seeds: tuple[int, ...], step: int, batch_size: int, device: torch.device) -> Tensor:
        """Return the rows of one step of several runs, int64, `(len(seeds), batch_size)`; see `rows`.

        Args:
            seeds: The runs' seeds; the order of each is drawn once an epoch, so the fewer differ the better.
            step: Step of the runs, from 0.
            batch_size: Rows, fewer than there are.
            device: Where the indices are wanted.
        """
        epoch, place = divmod(step, self._num_rows // batch_size)
        if epoch != self._epoch:
            self._drawn.clear()
            self._epoch = epoch
        key = seeds, device
        if key in self._drawn:
            _, rows = self._drawn[key]
        else:
            # Runs that take turns ask at every step: of whoever did not, some have left their group since.
            self._drawn = {one: kept for one, kept in self._drawn.items() if kept[0] >= step - 1}
            each = {seed: self._draw(seed, epoch) for seed in set(seeds)}
            # Drawn on the CPU, so that every device sees the same order; moved once an epoch.
            rows = torch.stack([each[seed] for seed in seeds]).to(device)
        self._drawn[key] = step, rows
        return rows.narrow(1, place * batch_size, batch_size)

    def _draw(self, seed: int, epoch: int) -> Tensor:
        generator = torch.Generator("cpu").manual_seed(derive(seed, "order", epoch))
        return torch.randperm(self._num_rows, generator=generator)
