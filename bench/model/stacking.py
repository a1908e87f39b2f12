"""Whether a model runs stacked with others, where torch's fused kernels can't follow."""

from __future__ import annotations

import torch


def is_transformed() -> bool:
    """Return whether the caller runs inside a torch.func transform.

    Fused attention and recurrence kernels have no batching rule on a CPU, and only part of one elsewhere:
    under vmap they would fall back to one member after the other, with a warning. A model then takes a path
    of plain operations, equal up to rounding.
    """
    return torch._C._functorch.maybe_current_level() is not None
