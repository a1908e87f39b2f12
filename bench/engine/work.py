"""Losses and gradients of members that step together: one forward and one backward pass for all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bench.data.dataset import DataSet, Inputs
from bench.engine.cross_entropy import Columnwise
from bench.engine.dead import find_activations, listen
from bench.engine.stacked_tensors import Tensors
from bench.engine.traced import Traced
from bench.forward import read_outputs, sum_loss
from bench.spec import Compile


class Work:
    """What a step computes before its update.

    Args:
        skeleton: The module that computes for all members.
        run: Returns the outputs of one member: of its weights, buffers and inputs.
        data: Whose losses they are.
        num_step_items: Items of one step of one member.
        purpose: What all that is done follows from, beside the tensors; None: there is no such thing.
        compiled: What torch.compile makes of what is traced.

    Attributes:
        formats: Of the newest outputs and their loss; None before the first call.
    """

    def __init__(
        self,
        skeleton: nn.Module,
        run: Callable[[Tensors, Tensors, Inputs], Any],
        data: DataSet,
        num_step_items: int,
        purpose: bytes | None,
        compiled: Compile,
    ) -> None:
        self._run, self._data, self._num_step_items = run, data, num_step_items
        self._is_trained = {name: one.requires_grad for name, one in skeleton.named_parameters()}
        self._activations = find_activations(skeleton)
        self.formats: tuple[torch.dtype, torch.dtype] | None = None
        self._by_dim = {dim: self._make(dim) for dim in (0, None)}
        if purpose is not None:
            for dim, work in self._by_dim.items():
                self._by_dim[dim] = Traced(work, ("work", dim, purpose), has_aside=True, compiled=compiled)

    def __call__(
        self,
        weights: Tensors,
        buffers: Tensors,
        inputs: Inputs,
        targets: Tensor,
        *,
        dim: int | None,
        is_watched: bool,
    ) -> tuple[Tensor, Tensors, Tensors]:
        """Return what one batch, or a part of it, gives.

        Args:
            weights: Stacked, as buffers are; by name.
            buffers: Changed in place where the model does so.
            inputs: Of each member, or the same for all.
            targets: The same.
            dim: Of inputs and targets that tells members apart; None: there is none.
            is_watched: Whether dead units are wanted.

        Returns:
            The losses `(num_members,)` summed and over the items of a step; the gradients of the weights that
            the loss depends on, by name; the shares of dead units `(num_members,)` by activation, or nothing.
        """
        return self._by_dim[dim](weights, buffers, inputs, targets, is_whole=is_watched)

    def _make(self, dim: int | None) -> Callable[..., tuple[Tensor, Tensors, Tensors]]:
        def work(
            weights: Tensors, buffers: Tensors, inputs: Inputs, targets: Tensor, *, is_whole: bool
        ) -> tuple[Tensor, Tensors, Tensors]:
            weights = {name: weight.detach() for name, weight in weights.items()}
            for name, weight in weights.items():
                weight.requires_grad_(self._is_trained[name])
            trained = {name: weight for name, weight in weights.items() if weight.requires_grad}
            shares: dict[str, list[Tensor]] = {}

            def compute(*args: Any) -> tuple[Tensor, Tensors]:
                return self._lose(*args), {name: torch.stack(each).mean() for name, each in shares.items()}

            hooks = listen(
                self._activations if is_whole else {},
                lambda name, share: shares.setdefault(name, []).append(share),
            )
            try:
                losses, dead = torch.func.vmap(compute, in_dims=(0, 0, dim, dim))(
                    weights, buffers, inputs, targets
                )
            finally:
                for hook in hooks:
                    hook.remove()
            ones = torch.ones_like(losses)
            found = torch.autograd.grad(losses, list(trained.values()), ones, allow_unused=True)
            gradients = {}
            for name, gradient in zip(trained, found, strict=True):
                # What the loss does not depend on has none.
                if isinstance(gradient, Tensor):
                    gradients[name] = gradient
            return losses.detach(), gradients, dead

        return work

    def _lose(self, weights: Tensors, buffers: Tensors, inputs: Inputs, targets: Tensor) -> Tensor:
        outputs = self._run(weights, buffers, inputs)
        with Columnwise():
            loss = sum_loss(self._data, outputs, targets) / self._num_step_items
        self.formats = read_outputs(outputs).dtype, loss.dtype
        return loss


def mean_of_parts(parts: Sequence[Tensors]) -> Tensors:
    """Return the mean of what each part of a batch gave, by name."""
    return {name: torch.stack([one[name] for one in parts]).mean(0) for name in parts[0]} if parts else {}
