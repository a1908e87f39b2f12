"""Stacked tensors as rows, one a member, cut into blocks whose scratch memory is bounded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from bench.engine.stacked.rule import Number

# Of scratch memory at once. On a CPU about what the caches hold; elsewhere few, large kernels are better.
_CPU_BYTES, _DEVICE_BYTES = 4 << 20, 256 << 20


class Block(NamedTuple):
    """Rows of some members: (members in the block, weights of a member)."""

    weight: Tensor
    gradient: Tensor
    kept: list[Tensor]
    columns: list[Tensor | None]


class Columns:
    """Numbers of all members as columns (num_members, 1), rounded once for each dtype of weights."""

    def __init__(self, *numbers: Tensor | None) -> None:
        self._numbers = numbers
        self._rounded: dict[torch.dtype, list[Tensor | None]] = {}

    def match(self, weight: Tensor) -> list[Tensor | None]:
        """Return them in a weight's dtype; in float32 for weights of 16 bits, None where there is none."""
        dtype = torch.float32 if weight.element_size() < 4 else weight.dtype
        if dtype not in self._rounded:
            self._rounded[dtype] = [None if one is None else one.to(dtype) for one in self._numbers]
        return self._rounded[dtype]


class Scratch:
    """Memory for what an update forgets, kept between updates."""

    def __init__(self) -> None:
        self._kept: dict[tuple[torch.device, torch.dtype], Tensor] = {}

    def take(self, like: Tensor, count: int) -> Tensor:
        """Return `count` numbers of any value; the next call returns the same memory."""
        key = like.device, like.dtype
        kept = self._kept.get(key)
        if kept is None or kept.shape[0] < count:
            kept = self._kept[key] = torch.empty(count, device=like.device, dtype=like.dtype)
        return kept[:count]

    def take_like(self, rows: Tensor) -> Tensor:
        """Return memory for a block of rows."""
        return self.take(rows, rows.numel()).view(rows.shape)


def make_column(number: Number, lr: Tensor) -> Tensor:
    """Return a number of all members, shared or not, as a precise column.

    Args:
        number: A float, a tensor of shape (), or one of (num_members,).
        lr: (num_members,), on the device wanted.
    """
    # Where there is no float64, what there is.
    dtype = lr.dtype if lr.device.type == "mps" else torch.float64
    if not isinstance(number, Tensor):
        return torch.full((len(lr), 1), number, device=lr.device, dtype=dtype)
    return number.to(lr.device, dtype).expand(len(lr)).unsqueeze(1)


def is_on(number: Number) -> bool:
    """Return whether a number, such as a weight decay, acts on some member: what differs always may."""
    return isinstance(number, Tensor) or number != 0


def read_position(step: Tensor) -> float | Tensor:
    """Return a step counter as a float, or as it is where reading it would wait for the device."""
    return step.item() if step.device.type == "cpu" else step.double()


def order_dimensions(weight: Tensor, first: int = 1) -> list[int] | None:
    """Return a weight's dimensions as they lie in memory, the first few in front; None if they already do."""
    if weight.is_contiguous():
        return None
    return [*range(first), *sorted(range(first, weight.ndim), key=weight.stride, reverse=True)]


def view_rows(tensor: Tensor, order: list[int] | None) -> Tensor:
    """Return a view (num_members, weights of a member): never a copy, whose update would be lost."""
    return (tensor if order is None else tensor.permute(order)).view(tensor.shape[0], -1)


def view_gradient(gradient: Tensor, order: list[int] | None) -> Tensor:
    """Return gradients as dense rows in the order of their weights: a copy where they lie in another."""
    dense = (gradient if order is None else gradient.permute(order)).contiguous()
    return dense.view(gradient.shape[0], -1)


def count_members(weight: Tensor, size: int) -> int:
    """Return how many members' numbers, `size` each, fit into the scratch memory; at least one's.

    Args:
        weight: Tells the device and the dtype.
        size: Numbers of a member.
    """
    return max(1, _count_limit(weight) // max(1, size))


def walk(weight: Tensor, gradient: Tensor, kept: Sequence[Tensor], columns: Columns) -> Iterator[Block]:
    """Yield the blocks of one stacked weight.

    Args:
        weight: (num_members, *shape).
        gradient: As the weight.
        kept: Tensors of the state, as the weight.
        columns: Numbers of its members.
    """
    order = order_dimensions(weight)
    rows = [
        view_rows(weight, order),
        view_gradient(gradient, order),
        *(view_rows(one, order) for one in kept),
    ]
    numbers = columns.match(weight)
    count = count_members(weight, rows[0].shape[1])
    if count >= weight.shape[0]:
        yield Block(rows[0], rows[1], rows[2:], numbers)
        return
    for low in range(0, len(weight), count):
        high = low + count
        cut = [one[low:high] for one in rows]
        yield Block(cut[0], cut[1], cut[2:], [None if one is None else one[low:high] for one in numbers])


def pack(weights: Sequence[Tensor]) -> Iterator[tuple[list[int], int, int]]:
    """Yield positions of weights and a range of members, so that each lot fits into the scratch memory.

    Args:
        weights: Of one device and dtype.
    """
    num_members = weights[0].shape[0]
    limit = _count_limit(weights[0])
    lot: list[int] = []
    total = 0
    for position, weight in enumerate(weights):
        if lot and total + weight.numel() > limit:
            yield lot, 0, num_members
            lot, total = [], 0
        if weight.numel() <= limit:
            lot.append(position)
            total += weight.numel()
            continue
        count = count_members(weight, weight.numel() // num_members)
        for low in range(0, num_members, count):
            yield [position], low, min(low + count, num_members)
    if lot:
        yield lot, 0, num_members


def cut_rows(rows: Tensor, low: int, high: int) -> Tensor:
    """Return the rows of some members, without a new view where it is all."""
    return rows if high - low == rows.shape[0] else rows[low:high]


def lerp(start: Tensor, end: Tensor, weight: Tensor) -> None:
    """Move `start` towards `end` in place; the weight may be a column of another dtype.

    Args:
        start: (members, ...).
        end: As start.
        weight: (members, 1, ...), of as many dimensions.
    """
    if weight.dtype == start.dtype:
        start.lerp_(end, weight)
    else:
        start.copy_(start.to(weight.dtype).lerp_(end.to(weight.dtype), weight))


def sum_rows(rows: Tensor) -> Tensor:
    """Return each row's sum, (members,).

    Args:
        rows: (members, numbers of a member).
    """
    # A single sum would be split between threads, and a member alone would differ from one among others.
    several = rows.expand(2, -1) if len(rows) == 1 else rows
    return several.sum(dim=1)[: len(rows)]


def make_counter(weight: Tensor, value: float = 0.0, is_fused: bool = False) -> Tensor:
    """Return a number of shape () where and as torch's optimizers keep their counters.

    Args:
        weight: Tells the device of a fused one.
        value: To start at.
        is_fused: Whether the group asks for the fused implementation.
    """
    if is_fused:
        return torch.full((), value, dtype=torch.float32, device=weight.device)
    is_wide = torch.get_default_dtype() == torch.float64
    return torch.tensor(value, dtype=torch.float64 if is_wide else torch.float32)


def advance(counters: list[Tensor]) -> None:
    """Add 1 to step counters."""
    torch._foreach_add_(counters, 1)


def _count_limit(weight: Tensor) -> int:
    """Return how many numbers of a weight's dtype fit into the scratch memory."""
    return (_CPU_BYTES if weight.device.type == "cpu" else _DEVICE_BYTES) // weight.element_size()
