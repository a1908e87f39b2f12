"""One training step for one model, the way a hand-written loop takes it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bench.data.arrays import Arrays
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

    def __init__(self, run: Run, model: nn.Module, optimizer: torch.optim.Optimizer, data: Arrays) -> None:
        self._model = model
        self._optimizer = optimizer
        self._data = data
        self._order_seed = seed_for(run.seed, run.vary, "order")
        self._dropout_seed = seed_for(run.seed, run.vary, "dropout")
        self._clip_norm = run.clip_norm
        self._batch_size = run.budget.batch_size
        # The newest step's inputs and targets; they stay alive until the next step.
        self.batch: tuple[Tensor, ...] = ()
        self._dropouts = dropout.find_layers(model)
        self.num_step_items = min(run.budget.batch_size, data.num_train_items)
        factors = lr_factors(run.schedule, run.budget.steps, data.num_train_items // self.num_step_items)
        # A group's own lr (a rule may set one) keeps its ratio to the others over the whole schedule.
        self._lrs = [[group["lr"] * factor for factor in factors] for group in optimizer.param_groups]

    def step(self, step: int) -> Tensor:
        """Take step number `step`.

        Returns:
            The mean training loss over the step's items before the update, shape (), still on the device.
        """
        for group, lrs in zip(self._optimizer.param_groups, self._lrs, strict=True):
            group["lr"] = lrs[step]
        if self._dropouts:
            dropout.set_step(self._dropouts, self._dropout_seed, step)
        self.batch = self._data.train_batch(self._order_seed, step, self._batch_size)
        loss: Tensor = self._optimizer.step(self._closure)  # type: ignore[arg-type, assignment]
        return loss.detach()

    def _closure(self) -> Tensor:
        # Gradients are freed before forward, in every arm: where they are freed changes the memory peak.
        self._optimizer.zero_grad()
        inputs, targets = self.batch
        loss = self._data.loss(self._model(inputs), targets) / self.num_step_items
        loss.backward()  # type: ignore[no-untyped-call]
        if self._clip_norm is not None:
            nn.utils.clip_grad_norm_(self._model.parameters(), self._clip_norm)
        return loss
