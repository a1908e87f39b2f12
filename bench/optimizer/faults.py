"""Faults of torch's own optimizers, tried out before a run rests on what they should do."""

from __future__ import annotations

import torch
from torch import nn

from bench.errors import Unsupported


def check_update(optimizer: torch.optim.Optimizer) -> None:
    """Refuse an update that torch leaves out: fused SGD's of 16-bit weights, on CPUs up to torch 2.13.

    Args:
        optimizer: As it was made, over the weights it is to train.

    Raises:
        Unsupported: A trial of it moved nothing (pytorch issue 191763).
    """
    if not isinstance(optimizer, torch.optim.SGD):
        return
    for group in optimizer.param_groups:
        if not group.get("fused") or group["params"][0].element_size() > 2:
            continue
        # Longer than a vector of any processor: what was left over from those did move.
        weight = nn.Parameter(group["params"][0].new_zeros(1024))
        weight.grad = torch.ones_like(weight)
        torch.optim.SGD([weight], lr=1.0, fused=True).step()
        if not weight.all():
            dtype = str(weight.dtype).removeprefix("torch.")
            reason = f"this torch's fused update leaves {dtype} weights as they are"
            raise Unsupported(f"optimizer.impl: {reason}; wants foreach or forloop")
