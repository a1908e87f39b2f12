"""One run alone, behind the questions that the training loop asks of any engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from bench.cost import Formats
from bench.data.dataset import Part
from bench.engine import state
from bench.engine.eager import Eager
from bench.engine.parallel import Team
from bench.engine.validate import validate
from bench.engine.watch import Sample, Samples, Watcher
from bench.forward import read_outputs, widen
from bench.prepare import prepare, set_mode
from bench.spec import Run


class Single:
    """A run that trains by itself, or over several processes.

    Args:
        run: What to train.
        team: The processes that take each step together.
    """

    name = Eager.name

    def __init__(self, run: Run, team: Team | None = None) -> None:
        self.run = run
        self.model, self.optimizer, self.data = prepare(run)
        # Before any saved state is there: the lr that an optimizer is made with is the schedule's peak.
        self.engine = Eager(run, self.model, self.optimizer, self.data, team)
        self.num_step_items = self.engine.num_step_items
        self._samples = self._watch()
        self._team = team

    def count_params(self) -> int:
        """Return the number of the model's weights."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    def step(self, step: int) -> Tensor:
        """Take a step; return the mean loss before the update, shape ()."""
        return self.engine.step(step)

    def set_mode(self, *, is_training: bool) -> None:
        """Switch model and optimizer."""
        set_mode(self.model, self.optimizer, is_training=is_training)

    def validate(self, part: Part) -> list[tuple[float, dict[str, float]]]:
        """Return the exact loss and metrics on one validation part, once."""
        return [validate(self.engine.evaluated, self.data, part, self.engine.call, self._team)]

    def keep(self, places: Sequence[int]) -> None:
        """Go on: there is nobody to go on without."""
        assert len(places) == 1, places

    def collect(self, place: int = 0) -> dict[str, Any]:
        """Return the run's state between two steps; its tensors are the live ones.

        Raises:
            Unsupported: A part keeps something that could not be read back.
        """
        return state.collect(self.model, self.optimizer, self.engine, self.run.device)

    def restore(self, saved: dict[str, Any]) -> None:
        """Continue from what `collect` returned; wants parts as they were made."""
        # An optimizer that makes something of a change of mode does so before its state comes back.
        self.set_mode(is_training=True)
        state.restore(saved, self.model, self.optimizer, self.engine, self.run.device)

    def read_formats(self, place: int) -> Formats | None:
        """Return the number formats as the newest step left them; None before the first."""
        return self.engine.read_formats()

    def take_samples(self) -> list[list[Sample]]:
        """Return what was sampled of the run since the last call, once."""
        return ([] if self._samples is None else self._samples.take()) or [[]]

    def count_skipped(self, place: int) -> int:
        """Return how many updates the loss scaler left out."""
        return self.engine.count_skipped()

    def draw(self, place: int) -> dict[str, bytes]:
        """Return the files the data makes of a trained model."""
        self.set_mode(is_training=False)

        def predict(inputs: Tensor) -> Tensor:
            with torch.no_grad():
                return widen(read_outputs(self.engine.call(self.engine.evaluated, inputs)))

        return self.data.artifacts(predict)

    def _watch(self) -> Samples | None:
        """Look at the steps that are to be sampled, if there are any."""
        watcher = Watcher(self.run, self.model, self.engine)
        if not watcher.samples.steps:
            return None
        self.engine.mark = watcher.mark
        return watcher.samples
