"""How a batch goes through a model: tensors, tuples and dicts in, tensors or objects with a loss out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from bench.data.dataset import DataSet, Inputs
from bench.errors import Unsupported


def forward(model: nn.Module, inputs: Inputs) -> Any:
    """Return what a model gives: a tuple goes in by position, a dict by name."""
    if isinstance(inputs, dict):
        return model(**inputs)
    if isinstance(inputs, tuple):
        return model(*inputs)
    return model(inputs)


def sum_loss(data: DataSet, outputs: Any, targets: Tensor) -> Tensor:
    """Return the loss summed over items, in float32 where the outputs are in a shorter format.

    A model that computes its own, the way Hugging Face's do when the batch holds labels, gives it as a mean
    over items in `.loss`.

    Args:
        data: Whose loss it is, where the model has none.
        outputs: A tensor, or an object or dict with `logits` and perhaps `loss`.
        targets: Of the same rows.
    """
    own = _part(outputs, "loss")
    if own is not None:
        return widen(own) * data.count_items(targets)
    return data.loss(widen(read_outputs(outputs)), targets)


def read_outputs(outputs: Any) -> Tensor:
    """Return the tensor of a model's outputs, whatever it comes in.

    Raises:
        Unsupported: There is none.
    """
    if isinstance(outputs, Tensor):
        return outputs
    logits = _part(outputs, "logits")
    if not isinstance(logits, Tensor):
        raise Unsupported(f"does not fit: the model gives a {type(outputs).__name__} without logits or loss")
    return logits


def widen(outputs: Tensor) -> Tensor:
    """Return outputs in float32 where they are in a 16-bit format, else as they are."""
    return outputs.float() if outputs.dtype in (torch.bfloat16, torch.float16) else outputs


def list_tensors(inputs: Inputs) -> Iterator[Tensor]:
    """Yield the tensors of one batch's inputs."""
    if isinstance(inputs, Tensor):
        yield inputs
    else:
        yield from inputs.values() if isinstance(inputs, dict) else inputs


def split_rows(inputs: Inputs, num_parts: int, dim: int = 0) -> list[Inputs]:
    """Return a batch's inputs cut into parts of nearly equal size, rows in order; dim is that of the rows."""
    if isinstance(inputs, Tensor):
        return list(inputs.chunk(num_parts, dim))
    if isinstance(inputs, tuple):
        return list(zip(*(tensor.chunk(num_parts, dim) for tensor in inputs), strict=True))
    names = list(inputs)
    parts = zip(*(inputs[name].chunk(num_parts, dim) for name in names), strict=True)
    return [dict(zip(names, part, strict=True)) for part in parts]


def take_rows(inputs: Inputs, first: int, end: int) -> Inputs:
    """Return some rows of a batch's inputs: from the first one to the one before the end."""
    if isinstance(inputs, Tensor):
        return inputs[first:end]
    if isinstance(inputs, tuple):
        return tuple(tensor[first:end] for tensor in inputs)
    return {name: tensor[first:end] for name, tensor in inputs.items()}


def _part(outputs: Any, name: str) -> Any:
    return outputs.get(name) if isinstance(outputs, Mapping) else getattr(outputs, name, None)
