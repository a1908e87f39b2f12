"""The dropout of runs that step as one: their seeds differ, and so may the shares they set to zero."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from bench.engine.member import Member
from bench.engine.stacked_tensors import Tensors
from bench.model import dropout


class Masks:
    """What the dropout layers of a stack read: each member's own.

    Args:
        skeleton: The module that computes for all members.
        members: Whose models have the same layers.
    """

    def __init__(self, skeleton: nn.Module, members: Sequence[Member]) -> None:
        numbers = {layer: number for number, layer in enumerate(dropout.find_layers(skeleton))}
        self._layers = {name: numbers[one] for name, one in skeleton.named_modules() if one in numbers}
        shares = {tuple(layer.p for layer in dropout.find_layers(member.model)) for member in members}
        # A share that all have in common stays a number: that is quicker.
        self._do_shares_differ = len(shares) > 1
        if self._do_shares_differ:
            for layer in numbers:
                layer.read_share()

    def gather(self, members: Sequence[Member]) -> Tensors:
        """Return the members' shares as buffers of the skeleton, stacked; none where they are the same."""
        if not self._do_shares_differ:
            return {}
        each, device = [dropout.find_layers(member.model) for member in members], members[0].run.device
        found: Tensors = {}
        for name, number in self._layers.items():
            own = [layers[number] for layers in each]
            bounds = torch.tensor([layer.bound for layer in own], dtype=torch.int32, device=device)
            scales = torch.tensor([layer.scale for layer in own], dtype=torch.float64, device=device)
            found |= {f"{name}.own_bound": bounds, f"{name}.own_scale": scales}
        return found

    def set_step(self, buffers: Tensors, members: Sequence[Member], position: int) -> None:
        """Give every layer of every member its mask for a step."""
        seeds = {member.dropout_seed for member in members}
        for name, layer in self._layers.items():
            keys = {seed: dropout.mask_key(seed, position, layer) for seed in seeds}
            made = torch.tensor([keys[member.dropout_seed] for member in members], dtype=torch.int32)
            buffers[f"{name}.key"].copy_(made)
