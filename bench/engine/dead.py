"""Which share of an activation's units is 0 for a whole batch: those learn nothing from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from bench.engine.stacked_tensors import Tensors

Note = Callable[[str, Tensor], None]


def find_activations(model: nn.Module) -> dict[str, nn.Module]:
    """Return a model's modules whose output can be 0 over a whole range of inputs, by name."""
    kinds = nn.ReLU | nn.ReLU6 | nn.Threshold
    return {name: module for name, module in model.named_modules() if isinstance(module, kinds)}


def listen(activations: Mapping[str, nn.Module], note: Note) -> list[torch.utils.hooks.RemovableHandle]:
    """Have the share of dead units noted of each call, by the activation's name; return the hooks."""

    def hook(name: str) -> Any:
        def listening(_module: nn.Module, _inputs: Any, outputs: Tensor) -> None:
            with torch.no_grad():
                note(name, _measure(outputs))

        return listening

    return [module.register_forward_hook(hook(name)) for name, module in activations.items()]


class DeadUnits:
    """The dead units of members that step together, from a forward pass of their own.

    Args:
        skeleton: The module that computes for all members.
        run: Returns the outputs of one member: of its weights, buffers and inputs.
    """

    def __init__(self, skeleton: nn.Module, run: Callable[[Tensors, Tensors, Any], Any]) -> None:
        self._activations = find_activations(skeleton)
        self._run = run
        self._parts: list[Tensors] = []

    def look(self, weights: Tensors, buffers: Tensors, inputs: Any, dim: int | None) -> None:
        """Note the shares for one part of a batch, which the weights have not been updated for."""
        if not self._activations:
            return

        def compute(weights: Tensors, buffers: Tensors, inputs: Any) -> dict[str, Tensor]:
            shares: dict[str, list[Tensor]] = {}
            hooks = listen(self._activations, lambda name, share: shares.setdefault(name, []).append(share))
            try:
                self._run(weights, buffers, inputs)
            finally:
                for hook in hooks:
                    hook.remove()
            return {name: torch.stack(each).mean() for name, each in shares.items()}

        # A norm's running statistics move with each pass: this one is none of theirs.
        own = {name: buffer.clone() for name, buffer in buffers.items()}
        with torch.no_grad():
            self._parts.append(torch.func.vmap(compute, in_dims=(0, 0, dim))(weights, own, inputs))

    def take(self) -> Tensors:
        """Return the shares `(num_members,)` by activation, the mean over the parts since the last call."""
        parts, self._parts = self._parts, []
        return {name: torch.stack([one[name] for one in parts]).mean(0) for name in parts[0]} if parts else {}


def _measure(outputs: Tensor) -> Tensor:
    # Of images a unit is a channel, of anything else the last dimension.
    unit = 1 if outputs.ndim == 4 else outputs.ndim - 1
    others = [dim for dim in range(outputs.ndim) if dim != unit]
    return (outputs.amax(others) <= 0).float().mean()
