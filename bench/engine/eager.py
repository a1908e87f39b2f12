"""One training step for one model, the way a hand-written loop takes it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from bench import compiling, precision
from bench.average import Average
from bench.cost import Formats, Phase
from bench.data.dataset import DataSet, Inputs
from bench.engine import shares
from bench.engine.parallel import Team
from bench.engine.scaling import Scaler
from bench.errors import Unsupported
from bench.forward import list_tensors, read_outputs, split_rows, sum_loss, take_rows
from bench.model import dropout
from bench.schedule import lr_factors
from bench.seeds import seed_for
from bench.spec import Run


class Eager:
    """The step of one run; position in the run is an argument, never a hidden counter.

    Attributes:
        mark: Called at the end of each phase of a step, if set: `data` (the batch is there), `forward` (the
            loss), `backward` (the gradients; both once a part), `optimizer` (the rest).
        call: Calls a model in the run's number format.
        position: Number of the newest step.

    Args:
        run: What to train; its lr is the schedule's peak.
        model: On the run's device.
        optimizer: Over the model's parameters.
        data: On the run's device.
        team: The processes that take each step together, every one with its share of the rows.

    Raises:
        Unsupported: The optimizer asks for the loss itself where something has to stand between; or, at the
            first step, nothing of the model could be compiled.
    """

    name = "eager"
    mark: Callable[[Phase], None] | None = None

    def __init__(
        self,
        run: Run,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        data: DataSet,
        team: Team | None = None,
    ) -> None:
        self.run = run
        self.call = precision.make_call(run.precision, run.device)
        self._model = model
        self._optimizer = optimizer
        self._data = data
        is_apart = run.precision.name == "fp16" or run.compile.name == "step"
        if is_apart and needs_closure(optimizer):
            place = "precision=fp16" if run.precision.name == "fp16" else "compile=step"
            raise Unsupported(f"{place}: {type(optimizer).__name__} asks for the loss itself in its step")
        self._scaler = Scaler(optimizer, run.device) if run.precision.name == "fp16" else None
        # What is called in training; `evaluated` is never compiled.
        self._trained, self._compiled_step = compiling.compile_parts(run, model, optimizer)
        self._team = team
        if team is not None:
            shares.check(run, model, min(run.budget.batch_size, data.num_train_rows))
            self._trained = team.wrap(model)
        self._is_replayed = run.compile.graphs
        self._order_seed = seed_for(run.seed, run.vary, "order")
        self._dropout_seed = seed_for(run.seed, run.vary, "dropout")
        self._clip_norm = run.clip_norm
        self._average = None if run.ema is None else Average(model, run.ema)
        self._batch_size = run.budget.batch_size
        self._num_parts = run.budget.accumulate
        # The newest step's inputs and targets; they stay alive until the next step.
        self._batch: tuple[Inputs, Tensor] | None = None
        self.position = 0
        self._dropouts = dropout.find_layers(model)
        # Formats of the first outputs and their loss.
        self._seen: tuple[torch.dtype, torch.dtype] | None = None
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
        self.position = step
        self._batch = self._data.train_batch(self._order_seed, step, self._batch_size)
        if self.mark is not None:
            self.mark("data")
        loss: Tensor
        if self._scaler is not None:
            loss = self._closure()
            self._scaler.step()
        elif self._compiled_step is not None:
            loss = self._closure()
            self._compiled_step()
        else:
            loss = self._optimizer.step(self._closure)  # type: ignore[arg-type, assignment]
        if self._average is not None:
            self._average.update()
        if self.mark is not None:
            self.mark("optimizer")
        return loss.detach()

    @property
    def evaluated(self) -> nn.Module:
        """The module whose losses are reported: the model, or the average of its weights."""
        return self._model if self._average is None else self._average.module.eval()

    @property
    def loss_scale(self) -> Tensor | None:
        """The factor of the newest loss, still on the device; None: no loss is scaled."""
        return None if self._scaler is None else self._scaler.read_scale()

    def list_held(self) -> list[Tensor]:
        """Return the tensors that stay alive between steps beside the model's and the optimizer's own."""
        batch = [] if self._batch is None else [*list_tensors(self._batch[0]), self._batch[1]]
        return batch if self._average is None else [*batch, *self._average.module.state_dict().values()]

    def read_formats(self) -> Formats | None:
        """Return the number formats as the newest step left them; None before the first. Nothing waits."""
        if self._seen is None:
            return None
        run = self.run
        return precision.read_formats(run.precision, run.device, self._model, self._optimizer, *self._seen)

    def count_skipped(self) -> int:
        """Return how many updates the loss scaler left out so far; with one, this waits for the device."""
        return 0 if self._scaler is None else self._scaler.count_skipped()

    def state_dict(self) -> dict[str, Any]:
        """Return what of this engine the next step depends on; its tensors are the live ones."""
        average, scaler = self._average, self._scaler
        return {
            "average": None if average is None else average.state_dict(),
            "scaler": None if scaler is None else scaler.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        if self._average is not None:
            self._average.load_state_dict(state["average"])
        if self._scaler is not None:
            self._scaler.load_state_dict(state["scaler"])

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
        if self._team is not None:
            self._team.add(total)
        if self._clip_norm is not None:
            if self._scaler is not None:
                # The bound is on the gradients as they are, not as they were scaled.
                self._scaler.unscale()
            nn.utils.clip_grad_norm_(self._model.parameters(), self._clip_norm)
        return total

    def _add_gradient(self, inputs: Inputs, targets: Tensor, part: int) -> Tensor:
        """Add one part's gradient; return its share of the step's mean loss, shape ()."""
        if self._dropouts:
            # No part may have another's mask: they are numbered through.
            position = self.position * self._num_parts + part
            dropout.set_step(self._dropouts, self._dropout_seed, position)
        around: AbstractContextManager[None] = nullcontext()
        if self._team is not None:
            first, end = self._team.share(len(targets))
            inputs, targets = take_rows(inputs, first, end), targets[first:end]
            dropout.set_rows(self._dropouts, first, end - first)
            is_last = part + 1 == self._num_parts
            around = self._team.surround(self._trained, is_first=self._seen is None, is_last=is_last)
        if self._is_replayed:
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        with around:
            outputs = self.call(self._trained, inputs)
            loss = sum_loss(self._data, outputs, targets) / self.num_step_items
            if self.mark is not None:
                self.mark("forward")
            # Of several processes' gradients torch takes the mean, and the sum is wanted.
            scaled = loss if self._team is None else loss * self._team.size
            (scaled if self._scaler is None else self._scaler.scale(scaled)).backward()  # type: ignore[no-untyped-call]
        if self.mark is not None:
            self.mark("backward")
        if self._seen is None:
            self._seen = read_outputs(outputs).dtype, loss.dtype
            compiling.check_taken(self.run)
        return loss.detach()


def needs_closure(optimizer: torch.optim.Optimizer) -> bool:
    """Return whether `step` can't be called without a closure."""
    parameters = inspect.signature(optimizer.step).parameters.values()
    return any(one.default is one.empty and one.kind is one.POSITIONAL_OR_KEYWORD for one in parameters)
