"""Modules and tensors of a running program under names that a frozen record can hold."""

from __future__ import annotations

import copy
import hashlib
import inspect
import io
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from bench.data.arrays import Arrays, Task, digest
from bench.data.dataset import DataSet
from bench.errors import SpecError

models: dict[str, Callable[[], nn.Module]] = {}
data_sets: dict[str, DataSet] = {}


class HeldModel(nn.Module):
    """A module made by a function of the program's own.

    Args:
        key: What the function is held under.
    """

    def __init__(self, *, key: str) -> None:
        super().__init__()
        self.inner = models[key]()

    def forward(self, *inputs: Tensor, **named: Tensor) -> Any:
        """Return what the held module gives for the same inputs."""
        return self.inner(*inputs, **named)


def hold_data(*, key: str) -> DataSet:
    """Return the data set that is held under a key."""
    return data_sets[key]


def split(data: tuple[Tensor, Tensor], val_share: float) -> Arrays:
    """Return tensors as a data set, a fixed random share of the items held out.

    Args:
        data: Inputs `(num_items, ...)` and targets `(num_items,)` or `(num_items, num_outputs)`.
        val_share: Of the items.

    Raises:
        SpecError: The two do not match, or too few items would be left on a side.
    """
    inputs, targets = (tensor.detach().cpu() for tensor in data)
    if len(inputs) != len(targets):
        raise SpecError(f"data: wants as many targets as inputs, got {len(targets)} and {len(inputs)}")
    num_val = round(val_share * len(inputs))
    if not 2 <= num_val < len(inputs):
        raise SpecError(f"val_share: wants at least 2 of {len(inputs)} items on either side, got {val_share}")
    is_classes = not targets.is_floating_point()
    task: Task = "classification" if is_classes else "regression"
    if not is_classes and targets.ndim == 1:
        targets = targets[:, None]
    order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(0))
    val, train = order[:num_val], order[num_val:]
    targets = targets.long() if is_classes else targets.float()
    return Arrays(
        task=task,
        item="sample",
        input_kind="image" if inputs.ndim == 4 else "features",
        num_outputs=int(targets.max()) + 1 if is_classes else targets.shape[1],
        sha256=digest(inputs.numpy(), targets.numpy()),
        train=(inputs[train], targets[train]),
        val=(inputs[val], targets[val]),
    )


def make_again(model: nn.Module) -> Callable[[], nn.Module]:
    """Return a function that makes the module with weights drawn anew."""
    for name, part in model.named_modules():
        if next(part.parameters(recurse=False), None) is not None and not hasattr(part, "reset_parameters"):
            raise SpecError(
                f"model: {name or type(part).__name__} has parameters and no reset_parameters(): "
                "pass a function that makes the module instead"
            )

    def make() -> nn.Module:
        fresh = copy.deepcopy(model)
        for part in fresh.modules():
            if hasattr(part, "reset_parameters"):
                part.reset_parameters()  # type: ignore[operator]
        return fresh

    return make


def digest_model(model: Callable[[], nn.Module]) -> str:
    """Return a hash of what a function makes: source, structure, and weights at a fixed seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = model()
    if not isinstance(made, nn.Module):
        raise SpecError(
            f"model: wants a function or class that makes an nn.Module, got a {type(made).__name__}"
        )
    content = io.BytesIO()
    for name, value in made.state_dict().items():
        content.write(f"{name}{tuple(value.shape)}{value.dtype}".encode())
        content.write(value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    texts = [repr(made)]
    for part in {type(module) for module in made.modules()}:
        if not getattr(part, "__module__", "").startswith("torch."):
            try:
                texts.append(inspect.getsource(part))
            except (OSError, TypeError):
                texts.append(repr(getattr(part, "__qualname__", "")))
    total = hashlib.sha256("\0".join(sorted(texts)).encode())
    total.update(content.getvalue())
    return total.hexdigest()[:32]
