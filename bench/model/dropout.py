"""Dropout whose mask is a hash of where it stands, so it is the same in every engine and on every device."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from weakref import WeakValueDictionary

import torch
from torch import Tensor, nn

# Source: Chris Wellons, "Prospecting for Hash Functions", 2018 (nullprogram.com): lowbias32, a bijection of
# 32 bits by shifts of 16, 15, 16 and these two products. Deviation: over tensors the last shift is left out,
# because a comparison is decided by the high bits, which it does not change.
_FIRST, _SECOND = 0x7FEB352D, 0x846CA68B
# 2**32 over the golden ratio: any start but 0, which the hash maps to itself.
_START = 0x9E3779B9


class Dropout(nn.Module):
    """Zero each element with probability p while training, and scale the others by 1 / (1 - p).

    A mask bit is a hash of (`key`, flat index in this call's tensor), and the key one of (seed, step, layer).
    So the layer keeps its mask until `set_step` moves on, and draws nothing from any random stream.

    Args:
        p: Probability of zero, in [0, 1).
    """

    key: Tensor

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        # A kept element is one whose hash, read as signed, lies below this.
        self.bound = min(round((1 - p) * 2**32) - 2**31, 2**31 - 1)
        self.scale = 1 / (1 - p)
        # The same as tensors, of each member its own, once `read_share` was called.
        self.own_bound: Tensor | None = None
        self.own_scale: Tensor | None = None
        # A buffer, so that it moves with the model and can be stacked over members; set anew each step.
        self.register_buffer("key", torch.zeros((), dtype=torch.int32), persistent=False)
        self._index: Tensor | None = None
        # Where its inputs are some rows of a batch only: the number of the first one, and how many there are.
        self.rows: tuple[int, int] | None = None
        self._index_start = 0

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the inputs with some elements zeroed, of the same shape and dtype."""
        if not self.training or self.p == 0:
            return inputs
        bound = self.bound if self.own_bound is None else self.own_bound
        kept = (_scramble(self._find_index(inputs) ^ self.key) < bound).to(inputs.dtype)
        if inputs.element_size() >= 4:
            scale = self.scale if self.own_scale is None else self.own_scale.to(inputs.dtype)
            return inputs * kept.mul_(scale)
        # In 16 bits the factor itself would be rounded, and every element be off by the same share.
        if self.own_scale is None:
            return (inputs * kept).mul_(self.scale)
        return ((inputs * kept).float() * self.own_scale.float()).to(inputs.dtype)

    def read_share(self) -> None:
        """Take p from buffers from now on, `own_bound` and `own_scale`, which may be stacked over members."""
        del self.own_bound, self.own_scale
        bound = torch.tensor(self.bound, dtype=torch.int32, device=self.key.device)
        scale = torch.tensor(self.scale, dtype=torch.float64, device=self.key.device)
        self.register_buffer("own_bound", bound, persistent=False)
        self.register_buffer("own_scale", scale, persistent=False)

    def _find_index(self, inputs: Tensor) -> Tensor:
        if torch.compiler.is_compiling():
            # A graph makes it in the kernel that uses it, which is cheaper there than reading it.
            return _scramble_places(inputs.shape, inputs.device, 0)
        start = 0 if self.rows is None else self.rows[0] * (inputs.numel() // self.rows[1])
        index = self._index
        is_other = index is None or index.shape != inputs.shape or index.device != inputs.device
        if index is None or is_other or start != self._index_start:
            index = self._index = _hashed_index(inputs.shape, inputs.device, start)
            self._index_start = start
        return index

    def extra_repr(self) -> str:
        """Return what `print(model)` shows."""
        return f"p={self.p}"


def drop(p: float) -> nn.Module:
    """Return a layer for a share of zeros: one that does nothing where the share is 0."""
    return Dropout(p) if p > 0 else nn.Identity()


def find_layers(model: nn.Module) -> list[Dropout]:
    """Return a model's Dropout layers in module order: the place in the list is the layer's number."""
    return [module for module in model.modules() if isinstance(module, Dropout)]


def set_step(layers: Iterable[Dropout], seed: int, step: int) -> None:
    """Give every layer its mask for a step: one fill per layer, which no device waits for.

    Args:
        layers: From `find_layers`.
        seed: The run's seed.
        step: Step of the run, from 0.
    """
    for layer, module in enumerate(layers):
        module.key.fill_(mask_key(seed, step, layer))


def set_rows(layers: Iterable[Dropout], first: int, num: int) -> None:
    """Give every layer the masks of some rows of a batch, which other processes have the rest of.

    Args:
        layers: From `find_layers`; of their inputs the rows stand first.
        first: Number of the first row in the whole batch.
        num: Rows.
    """
    for module in layers:
        module.rows = first, num


def mask_key(seed: int, step: int, layer: int) -> int:
    """Return the key of one layer's mask at one step.

    Steps of one layer never share a key.

    Args:
        seed: The run's seed, in [0, 2**32).
        step: Step of the run, in [0, 2**32).
        layer: Number of the layer, from 0.

    Returns:
        A whole number in [-2**31, 2**31), as the int32 buffer holds it.
    """
    bits = _START
    for part in (seed, layer, step):
        bits ^= part & 0xFFFFFFFF
        bits = ((bits ^ bits >> 16) * _FIRST) & 0xFFFFFFFF
        bits = ((bits ^ bits >> 15) * _SECOND) & 0xFFFFFFFF
        bits ^= bits >> 16
    return _signed(bits)


# Layers of one shape share their index, which lives as long as one of them holds it.
_indices: WeakValueDictionary[tuple[torch.Size, torch.device, int], Tensor] = WeakValueDictionary()


@contextmanager
def indices_apart() -> Iterator[None]:
    """Share no index with layers outside: for fake tensors, which no real layer may come to hold."""
    global _indices
    outside, _indices = _indices, WeakValueDictionary()
    try:
        yield
    finally:
        _indices = outside


def _hashed_index(shape: torch.Size, device: torch.device, start: int) -> Tensor:
    """Return the hashed flat index of each element, int32: hashed so that no two keys give shifted copies."""
    index = _indices.get((shape, device, start))
    if index is None:
        # Outside any torch.func transform: a tensor made inside one is bound to it, and this one outlives it.
        with torch._C._DisableFuncTorch():
            index = _indices[shape, device, start] = _scramble_places(shape, device, start)
    return index


def _scramble_places(shape: torch.Size, device: torch.device, start: int) -> Tensor:
    end = start + shape.numel()
    return _scramble(torch.arange(start, end, dtype=torch.int32, device=device)).view(shape)


def _scramble(bits: Tensor) -> Tensor:
    """Hash int32 elements in place: products wrap, and masks undo the sign that a shift drags in."""
    bits ^= (bits >> 16).bitwise_and_(0xFFFF)
    bits *= _signed(_FIRST)
    bits ^= (bits >> 15).bitwise_and_(0x1FFFF)
    bits *= _signed(_SECOND)
    return bits


def _signed(bits: int) -> int:
    return bits - 2**32 if bits >= 2**31 else bits
