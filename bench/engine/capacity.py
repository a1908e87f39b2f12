"""How many members of a population there is memory for."""

from __future__ import annotations

import os
from contextlib import suppress

import torch

from bench import precision
from bench.data.dataset import DataSet
from bench.engine.member import Member
from bench.forward import sum_loss
from bench.model import dropout

# Of the memory that is free, what a population may take: others live there, too.
SHARE = 0.4
# Copies of a member's weights: they, their gradients, two of optimizer state, and an update on its way.
COPIES = 5
# What backward holds beside what forward has left for it.
BACKWARD = 2.0


def find_limit(member: Member, data: DataSet) -> int:
    """Return how many members fit into the memory that is free on their device now; at least one.

    Args:
        member: One of them.
        data: On its device.
    """
    free = _read_free(member.run.device)
    return max(1, int(SHARE * free / (1 + count_bytes(member, data))))


def count_bytes(member: Member, data: DataSet) -> int:
    """Return about how many bytes one member takes in a step: its weights, and what its forward leaves."""
    weights = {id(one): one.numel() * one.element_size() for one in member.model.parameters()}
    held: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        held[storage.data_ptr()] = storage.nbytes()
        return tensor

    run = member.run
    inputs, targets = data.train_batch(member.order_seed, 0, run.budget.batch_size)
    layers = dropout.find_layers(member.model)
    dropout.set_step(layers, member.dropout_seed, 0)
    buffers = {name: one.clone() for name, one in member.model.named_buffers()}
    call = precision.make_call(run.precision, run.device)
    with member.streams(), torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        loss = sum_loss(data, call(member.model, inputs), targets)
    del loss
    with torch.no_grad():
        # Batch norm counts what it sees.
        for name, one in member.model.named_buffers():
            one.copy_(buffers[name])
    return COPIES * sum(weights.values()) + int(BACKWARD * sum(held.values()))


def _read_free(device: str) -> int:
    if device == "cuda":
        return int(torch.cuda.mem_get_info()[0])
    with suppress(OSError, ValueError, StopIteration):
        with open("/proc/meminfo", encoding="ascii") as lines:
            line = next(line for line in lines if line.startswith("MemAvailable"))
        # Other processes of the sweep count on it as well.
        return int(line.split()[1]) * 1024 // (os.cpu_count() or 1)
    return 2**30
