"""Which share of an activation's units is 0 for a whole batch: those learn nothing from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

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


def _measure(outputs: Tensor) -> Tensor:
    # Of images a unit is a channel, of anything else the last dimension.
    unit = 1 if outputs.ndim == 4 else outputs.ndim - 1
    others = [dim for dim in range(outputs.ndim) if dim != unit]
    return (outputs.amax(others) <= 0).float().mean()
