"""Many runs of one shape in one pass: as many to a stack as there is memory for."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from bench import precision
from bench.cost import Formats
from bench.data.dataset import DataSet, Part
from bench.engine.capacity import find_limit
from bench.engine.member import Member
from bench.engine.stack import Stack
from bench.engine.watch import Sample
from bench.forward import read_outputs, widen
from bench.prepare import set_mode, set_optimizer_mode


class Population:
    """Runs that take each step together; what comes of one depends on none of the others.

    Args:
        members: At the same position of runs that `bench.together` lets train together.
        data: On their device.
        limit: Members that one stack may have; None: as many as there is room for.

    Raises:
        Unsupported: Their optimizer asks for the loss itself.
    """

    name = "population"

    def __init__(self, members: Sequence[Member], data: DataSet, limit: int | None = None) -> None:
        run = members[0].run
        self._data = data
        self.num_step_items = min(run.budget.batch_size, data.num_train_rows) * data.items_per_row
        limit = find_limit(members[0], data) if limit is None else limit
        # Of about the same size each.
        num = -(-len(members) // limit)
        cuts = [len(members) * place // num for place in range(num + 1)]
        self._stacks = [
            Stack(members[first:end], data, self.num_step_items) for first, end in itertools.pairwise(cuts)
        ]

    @property
    def members(self) -> list[Member]:
        """The runs, in order."""
        return [member for stack in self._stacks for member in stack.members]

    def count_params(self) -> int:
        """Return the number of one model's weights."""
        return sum(parameter.numel() for parameter in self.members[0].model.parameters())

    def step(self, step: int) -> Tensor:
        """Take a step; return the mean losses before the update, `(num_members,)`, still on the device."""
        losses = [stack.step(step) for stack in self._stacks]
        return losses[0] if len(losses) == 1 else torch.cat(losses)

    def set_mode(self, *, is_training: bool) -> None:
        """Switch optimizers that have modes; the members' models compute nothing themselves."""
        for member in self.members:
            set_optimizer_mode(member.optimizer, is_training=is_training)
        for stack in self._stacks:
            stack.refresh()

    def validate(self, part: Part) -> list[tuple[float, dict[str, float]]]:
        """Return each member's exact loss and metrics on one validation part."""
        return [found for stack in self._stacks for found in stack.validate(part)]

    def keep(self, places: Sequence[int]) -> None:
        """Go on with some members only; their order stays."""
        first, left = 0, []
        for stack in self._stacks:
            own = [place - first for place in places if first <= place < first + len(stack)]
            first += len(stack)
            if own:
                if len(own) < len(stack):
                    stack.keep(own)
                left.append(stack)
        self._stacks = left

    def collect(self, place: int) -> dict[str, Any]:
        """Return a member's state between two steps.

        Raises:
            Unsupported: A part keeps something that could not be read back.
        """
        stack, member = self._find(place)
        stack.publish()
        return member.collect()

    def read_formats(self, place: int) -> Formats | None:
        """Return the number formats as the newest step left them; None before the first."""
        stack, member = self._find(place)
        if stack.formats is None:
            return None
        stack.publish()
        run, found = member.run, stack.formats
        return precision.read_formats(
            run.precision, run.device, member.model, member.optimizer, *found, stack.gradient_dtypes
        )

    def take_samples(self) -> list[list[Sample]]:
        """Return what was sampled of each member since the last call."""
        each = [stack.samples.take() or [[] for _ in stack.members] for stack in self._stacks]
        return [taken for some in each for taken in some]

    def count_skipped(self, place: int) -> int:
        """Return 0: no loss is scaled here."""
        return 0

    def draw(self, place: int) -> dict[str, bytes]:
        """Return the files the data makes of a member's trained model."""
        _, member = self._find(place)
        set_mode(member.model, member.optimizer, is_training=False)
        module = member.model if member.average is None else member.average.module.eval()
        call = precision.make_call(member.run.precision, member.run.device)

        def predict(inputs: Tensor) -> Tensor:
            with torch.no_grad():
                return widen(read_outputs(call(module, inputs)))

        return self._data.artifacts(predict)

    def _find(self, place: int) -> tuple[Stack, Member]:
        for stack in self._stacks:
            if place < len(stack):
                return stack, stack.members[place]
            place -= len(stack)
        raise IndexError(place)
