"""Whether a model is a function of tensors alone: members would share whatever else it counts by."""

from __future__ import annotations

import random
from collections.abc import Sized
from typing import Any

import torch
from torch import Tensor, nn

from bench.errors import Unsupported

_OWN = frozenset(vars(nn.Module())) | {"forward"}
_PLAIN = (bool, int, float, complex, str, bytes, type(None))


class Purity:
    """What modules hold beside weights and buffers, as it was; in torch's and ours that moves no number.

    Args:
        model: As it was made.
    """

    def __init__(self, model: nn.Module) -> None:
        self._modules = [
            one for one in model.modules() if not type(one).__module__.startswith(("torch.", "bench."))
        ]
        self._held = self._read()

    def check(self) -> None:
        """Refuse a model whose calls have changed something.

        Raises:
            Unsupported: They have: members would share it.
        """
        for place, (before, now) in enumerate(zip(self._held, self._read(), strict=True)):
            if before != now:
                changed = [name for name in {**before, **now} if before.get(name) != now.get(name)]
                cls = type(self._modules[place]).__name__
                raise Unsupported(f"{cls}.{changed[0]} changes when the model is called")

    def _read(self) -> list[dict[str, Any]]:
        return [
            {name: _describe(value) for name, value in vars(one).items() if name not in _OWN}
            for one in self._modules
        ]


def _describe(value: Any) -> Any:
    """Return something that is another after a change; a list or a dict is known by its length."""
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, Tensor):
        return id(value), value._version
    if isinstance(value, torch.Generator):
        return value.get_state().numpy().tobytes()
    if isinstance(value, random.Random):
        return value.getstate()
    # numpy's, without asking for numpy.
    if (stream := getattr(value, "bit_generator", None)) is not None:
        return str(stream.state)
    return id(value), len(value) if isinstance(value, Sized) else 0
