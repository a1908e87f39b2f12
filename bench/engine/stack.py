"""Runs that step as one: weights stacked, forward and backward under vmap, one update for all of them."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from bench import precision
from bench.data.dataset import DataSet, Inputs, Part
from bench.engine.masks import Masks
from bench.engine.member import Member
from bench.engine.purity import Purity
from bench.engine.stacked_tensors import Tensors, add, clip, point, spread, stack
from bench.engine.traced import Traced
from bench.engine.update import Update
from bench.engine.validate import make_evaluate, validate_stacked
from bench.engine.watch import Samples
from bench.engine.work import Work, mean_of_parts
from bench.forward import split_rows
from bench.model import batched
from bench.together import can_trace, find_kind, find_shape


class Stack:
    """Members of one shape, which may differ in numbers; none of them feels how many others there are.

    Args:
        members: At the same position of runs that differ in numbers only.
        data: On their device.
        num_step_items: Items of one step of one member.
    """

    def __init__(self, members: Sequence[Member], data: DataSet, num_step_items: int) -> None:
        run = members[0].run
        self.members = list(members)
        self._data = data
        self._batch_size, self._num_parts = run.budget.batch_size, run.budget.accumulate
        self._call = precision.make_call(run.precision, run.device)
        # What computes; its own weights are never used.
        self._skeleton = copy.deepcopy(members[0].model)
        self._purity = Purity(self._skeleton)
        batched.quicken(self._skeleton)
        self._masks = Masks(self._skeleton, members)
        self.gradient_dtypes: set[torch.dtype] = set()
        self.samples = Samples(run, self._skeleton)
        # Of the parts of the batch so far.
        self._dead: list[Tensors] = []
        purpose = find_shape(run) if can_trace(run) else None
        self._work = Work(self._skeleton, self._run, data, num_step_items, purpose, run.compile)
        # Where a member is to be what it would be by itself, to the last digit.
        self._is_exact = run.precision.name == "fp64" and run.device == "cpu"
        evaluate = make_evaluate(self._run, data, is_exact=self._is_exact)
        self._evaluate = evaluate if purpose is None else Traced(evaluate, ("evaluate", purpose))
        self._gather()

    def __len__(self) -> int:
        return len(self.members)

    def step(self, step: int) -> Tensor:
        """Take step number `step`; return the mean losses before the update, `(num_members,)`."""
        inputs, targets, dim = self._draw_batch(step)
        self._dead = []
        self.samples.begin(step, self._weights)
        if self._num_parts == 1:
            losses, gradients = self._differentiate(inputs, targets, dim, step)
        else:
            losses, gradients = self._accumulate(inputs, targets, dim, step)
        with torch.no_grad():
            self.samples.add_gradients(dict(zip(self._weights, gradients, strict=True)))
            norms = [member.run.clip_norm for member in self.members]
            if any(norm is not None for norm in norms):
                clip(gradients, norms)
            for places, update in self._updates:
                own = {name: weight[places] for name, weight in self._weights.items()}
                update.apply(step, own, [None if one is None else one[places] for one in gradients])
            if self._averages:
                for member in self.members:
                    assert member.average is not None
                    decay = member.average.advance()
                torch._foreach_lerp_(list(self._averages.values()), list(self._weights.values()), 1 - decay)
            self.samples.end(self._weights, mean_of_parts(self._dead))
        self._purity.check()
        return losses

    @property
    def formats(self) -> tuple[torch.dtype, torch.dtype] | None:
        """Of the newest outputs and their loss; None before the first step."""
        return self._work.formats

    def keep(self, places: Sequence[int]) -> None:
        """Go on with some members only."""
        self.publish()
        self.members = [self.members[place] for place in places]
        self._gather()

    def publish(self) -> None:
        """Let each member's own optimizer see its state as of now."""
        for _, update in self._updates:
            update.publish()

    def refresh(self) -> None:
        """Take up the weights of members whose optimizers changed their mode."""
        with torch.no_grad():
            for places, update in self._updates:
                update.refresh({name: weight[places] for name, weight in self._weights.items()})

    def validate(self, part: Part) -> list[tuple[float, dict[str, float]]]:
        """Return each member's exact loss and metrics on one validation part; see `validate`."""
        self._skeleton.eval()
        try:
            held = (self._averages or self._weights, self._buffers)
            return validate_stacked(self._evaluate, held, self._data, part)
        finally:
            self._skeleton.train()

    def _gather(self) -> None:
        """Stack what the members hold, and make what they hold views of it."""
        models = [member.model for member in self.members]
        self._weights = stack([dict(model.named_parameters()) for model in models])
        self._buffers = stack([dict(model.named_buffers()) for model in models])
        self._averages: Tensors = {}
        for place, model in enumerate(models):
            point(model, self._weights, self._buffers, place)
        self._buffers |= self._masks.gather(self.members)
        if (averages := [member.average for member in self.members])[0] is not None:
            kept = [average.weights for average in averages if average is not None]
            self._averages = stack(kept)
            for place, each in enumerate(kept):
                for name, averaged in each.items():
                    averaged.data = self._averages[name][place]
        self._updates = [
            (slice(some[0][0], some[-1][0] + 1), Update([member for _, member in some], list(self._weights)))
            for some in _group(self.members)
        ]

    def _draw_batch(self, step: int) -> tuple[Inputs, Tensor, int | None]:
        """Return one step's inputs and targets, and the dimension that tells members apart, if any does."""
        seeds = tuple(member.order_seed for member in self.members)
        is_whole = self._batch_size >= self._data.num_train_rows and not self._is_drawn()
        if is_whole or len(set(seeds)) == 1:
            inputs, targets = self._data.train_batch(seeds[0], step, self._batch_size)
            if self._is_exact:
                return spread(inputs, len(seeds)), targets.expand(len(seeds), *targets.shape), 0
            return inputs, targets, None
        return *self._data.train_batches(seeds, step, self._batch_size), 0

    def _is_drawn(self) -> bool:
        # What is not known to be the same for every seed isn't taken for it.
        return bool(getattr(self._data, "is_drawn", True))

    def _accumulate(
        self, inputs: Inputs, targets: Tensor, dim: int | None, step: int
    ) -> tuple[Tensor, list[Tensor | None]]:
        by_row = 0 if dim is None else 1
        parts = zip(
            split_rows(inputs, self._num_parts, by_row), targets.chunk(self._num_parts, by_row), strict=True
        )
        total: tuple[Tensor, list[Tensor | None]] | None = None
        for number, part in enumerate(parts):
            # No part may have another's mask: they are numbered through.
            each = self._differentiate(*part, dim, step * self._num_parts + number)
            total = each if total is None else add(total, each)
        assert total is not None
        return total

    def _differentiate(
        self, inputs: Inputs, targets: Tensor, dim: int | None, position: int
    ) -> tuple[Tensor, list[Tensor | None]]:
        """Return the losses `(num_members,)` of one part of a batch, and the gradient of each weight."""
        self._masks.set_step(self._buffers, self.members, position)
        losses, found, dead = self._work(
            dict(self._weights), self._buffers, inputs, targets, dim=dim, is_watched=self.samples.is_due
        )
        self._dead.append(dead)
        gradients = [found.get(name) for name in self._weights]
        self.gradient_dtypes = {one.dtype for one in found.values()}
        return losses, gradients

    def _run(self, weights: Tensors, buffers: Tensors, inputs: Inputs) -> Any:
        def model(*args: Any, **named: Any) -> Any:
            return torch.func.functional_call(self._skeleton, (weights, buffers), args, named)

        return self._call(model, inputs)  # type: ignore[arg-type]


def _group(members: Sequence[Member]) -> list[list[tuple[int, Member]]]:
    """Return neighbours that one update serves, with their places."""
    kinds = itertools.groupby(enumerate(members), lambda placed: find_kind(placed[1].run))
    return [list(some) for _, some in kinds]
