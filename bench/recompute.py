"""Activation checkpointing: keep what goes into parts of a model, and compute the rest again in backward."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.utils.checkpoint import checkpoint

from bench.errors import Unsupported
from bench.model.blocks import Blocks
from bench.spec import Recompute

# A sequence, the number of layers in each of its blocks; layers after those belong to none.
Stack = tuple[nn.Sequential, tuple[int, ...]]


def apply(model: nn.Module, recompute: Recompute, name: str) -> None:
    """Make a model recompute parts of itself while it trains; its numbers stay the same to the last bit.

    A model takes part with `Blocks`, or with a plain nn.Sequential that it or a module inside it holds as
    `blocks`, each layer of which is then a block. A segment is some blocks in a row, and never goes over the
    end of a sequence.

    Source: Chen et al. 2016 (arXiv 1604.06174), section 4.3 for segments. Deviation: the last segment is
    recomputed as well, so that its activations are not there yet while the head's are.

    Args:
        model: Changed in place; what it computes without gradients or in evaluation mode is not.
        recompute: How many blocks go together.
        name: The model's, for the message.

    Raises:
        Unsupported: The model has no blocks.
    """
    if recompute.name == "none":
        return
    stacks = list(find_stacks(model))
    num_blocks = sum(len(sizes) for _, sizes in stacks)
    if num_blocks == 0:
        raise Unsupported(f"recompute: {name} has no blocks, an nn.Sequential that it holds as `blocks`")
    num_segments = num_blocks
    if recompute.name == "segments":
        num_segments = recompute.segments if recompute.segments != "auto" else round(math.sqrt(num_blocks))
    for sequence, sizes in stacks:
        # Each sequence gets its share of the segments, and at least one.
        share = max(1, min(len(sizes), round(num_segments * len(sizes) / num_blocks)))
        sequence.forward = _Recomputed(sequence, cut(sizes, share))  # type: ignore[method-assign]


def find_stacks(model: nn.Module) -> Iterator[Stack]:
    """Yield the sequences of blocks of a model, in module order, but none inside a block of another."""
    inner: set[nn.Module] = set()
    for module in model.modules():
        held = module if isinstance(module, Blocks) else getattr(module, "blocks", None)
        if isinstance(held, nn.Sequential) and not {module, held} & inner and len(held) > 0:
            inner.update(held.modules())
            sizes = held.sizes if isinstance(held, Blocks) else (1,) * len(held)
            if sizes:
                yield held, sizes


def cut(sizes: tuple[int, ...], num_segments: int) -> list[int]:
    """Return where segments of blocks begin and end, in layers: one more number than there are segments.

    Args:
        sizes: Layers of each block.
        num_segments: Of nearly equal numbers of blocks.
    """
    ends = list(accumulate(sizes, initial=0))
    return [ends[number * len(sizes) // num_segments] for number in range(num_segments + 1)]


class _Recomputed:
    """Stands in for the `forward` of a sequence; an object, so that a copied model has a copy of it."""

    def __init__(self, sequence: nn.Sequential, borders: list[int]) -> None:
        self._sequence = sequence
        self._borders = borders
        norms = [module for module in sequence.modules() if isinstance(module, _NormBase)]
        self._norms = [norm for norm in norms if norm.track_running_stats]

    def __call__(self, features: Any, *others: Any) -> Any:
        sequence = self._sequence
        if not (sequence.training and torch.is_grad_enabled()):
            return type(sequence).forward(sequence, features, *others)  # type: ignore[no-untyped-call]
        for start, end in pairwise(self._borders):
            # A compiled graph moves statistics once, whatever its backward computes again.
            is_moving = self._norms and not torch.compiler.is_compiling()
            arguments: dict[str, Any] = {"context_fn": self._contexts} if is_moving else {}
            run = partial(self._run, start, end)
            features = checkpoint(run, features, *others, use_reentrant=False, **arguments)
        return self._run(self._borders[-1], len(sequence), features, *others)

    def _run(self, start: int, end: int, features: Any, *others: Any) -> Any:
        for number in range(start, end):
            features = self._sequence[number](features, *others)
        return features

    def _contexts(self) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _held_still(self._norms)


@contextmanager
def _held_still(norms: list[_NormBase]) -> Iterator[None]:
    """Leave running statistics as they are: forward has already moved them, and outputs don't depend on them.

    With a momentum of 0 the kernel writes back what it read; without a counter none is raised.
    """
    kept = [(norm, norm.momentum, norm._buffers["num_batches_tracked"]) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
        norm._buffers["num_batches_tracked"] = None
    try:
        yield
    finally:
        for norm, momentum, counter in kept:
            norm.momentum = momentum
            norm._buffers["num_batches_tracked"] = counter
