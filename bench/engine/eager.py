"""One training step for one model, the way a hand-written loop takes it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bench.average import Average
from bench.data.dataset import DataSet, Inputs
from bench.forward import forward, list_tensors, split_rows, sum_loss
from bench.model import dropout
from bench.schedule import lr_factors
from bench.seeds import seed_for
from bench.spec import Run


class Eager:
    """The step of one run; position in the run is an argument, never a hidden counter.

    Args:
        run: What to train; its lr is the schedule's peak.
        model: On the run's device.
        optimizer: Over the model's parameters.
        data: On the run's device.
    """

    name = "eager"

    def __init__(self, run: Run, model: nn.Module, optimizer: torch.optim.Optimizer, data: DataSet) -> None:
        self._model = model
        self._optimizer = optimizer
        self._data = data
        self._order_seed = seed_for(run.seed, run.vary, "order")
        self._dropout_seed = seed_for(run.seed, run.vary, "dropout")
        self._clip_norm = run.clip_norm
        self._average = None if run.ema is None else Average(model, run.ema)
        self._batch_size = run.budget.batch_size
        self._num_parts = run.budget.accumulate
        # The newest step's inputs and targets; they stay alive until the next step.
        self._batch: tuple[Inputs, Tensor] | None = None
        self._position = 0
        self._dropouts = dropout.find_layers(model)
        num_rows = min(run.budget.batch_size, data.num_train_rows)
        self.num_step_items = num_rows * data.items_per_row
        factors = lr_factors(run.schedule, run.budget.steps, data.num_train_rows // num_rows)
        # A group's own lr (a rule may set one) keeps its ratio to the others over the whole schedule.
        self._lrs = [[group["lr"] * factor for factor in factors] for group in optimizer.param_groups]

    def step(self, step: int) -> Tensor:
        """Take step number `step`.

        Returns:
            The mean training loss over the step's items before the update, shape (), still on the device.
        """
        for group, lrs in zip(self._optimizer.param_groups, self._lrs, strict=True):
            group["lr"] = lrs[step]
        self._position = step
        self._batch = self._data.train_batch(self._order_seed, step, self._batch_size)
        loss: Tensor = self._optimizer.step(self._closure)  # type: ignore[arg-type, assignment]
        if self._average is not None:
            self._average.update()
        return loss.detach()

    @property
    def evaluated(self) -> nn.Module:
        """The module whose losses are reported: the model, or the average of its weights."""
        return self._model if self._average is None else self._average.module.eval()

    def list_held(self) -> list[Tensor]:
        """Return the tensors that stay alive between steps beside the model's and the optimizer's own."""
        batch = [] if self._batch is None else [*list_tensors(self._batch[0]), self._batch[1]]
        return batch if self._average is None else [*batch, *self._average.module.state_dict().values()]

    def _closure(self) -> Tensor:
        # Gradients are freed before forward, in every arm: where they are freed changes the memory peak.
        self._optimizer.zero_grad()
        assert self._batch is not None
        inputs, targets = self._batch
        if self._num_parts == 1:
            total = self._add_gradient(inputs, targets, 0)
        else:
            parts = zip(split_rows(inputs, self._num_parts), targets.chunk(self._num_parts), strict=True)
            losses = [self._add_gradient(*part, number) for number, part in enumerate(parts)]
            total = torch.stack(losses).sum()
        if self._clip_norm is not None:
            nn.utils.clip_grad_norm_(self._model.parameters(), self._clip_norm)
        return total

    def _add_gradient(self, inputs: Inputs, targets: Tensor, part: int) -> Tensor:
        """Add one part's gradient; return its share of the step's mean loss, shape ()."""
        if self._dropouts:
            # No part may have another's mask: they are numbered through.
            position = self._position * self._num_parts + part
            dropout.set_step(self._dropouts, self._dropout_seed, position)
        outputs = forward(self._model, inputs)
        loss = sum_loss(self._data, outputs, targets) / self.num_step_items
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()
