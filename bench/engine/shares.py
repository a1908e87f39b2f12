"""What can't be shared out among processes and still give the numbers of one, each with its line."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from bench.errors import Unsupported
from bench.spec import Run


def check(run: Run, model: nn.Module, num_rows: int) -> None:
    """Refuse what would not give the numbers that one process gives.

    Args:
        run: Spread over several processes.
        model: What it trains.
        num_rows: Of a batch.

    Raises:
        Unsupported: A part needs all rows at once, or draws from a stream that all processes share.
    """
    place = f"processes={run.processes}"
    if run.compile.name != "none":
        raise Unsupported(f"{place}: wants compile=none, got {run.compile.name}")
    num_parts = run.budget.accumulate
    smallest = num_rows - (num_parts - 1) * -(-num_rows // num_parts)
    if smallest < run.processes:
        raise Unsupported(f"{place}: wants at least as many rows in each part of a batch, got {smallest}")
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            raise Unsupported(f"{place}: batch norm wants all rows of a batch in one process")
        draws = module.p if isinstance(module, _DropoutNd) else getattr(module, "dropout", 0.0)
        if isinstance(draws, float) and draws > 0 and type(module).__module__.startswith("torch."):
            raise Unsupported(f"{place}: torch's dropout is not the same in each; bench.model.dropout's is")


@contextlib.contextmanager
def refuse_draws(run: Run) -> Iterator[None]:
    """Refuse a model that draws from torch's streams: each process would draw the same for other rows.

    Raises:
        Unsupported: A stream moved meanwhile.
    """
    places: list[Any] = [torch] if run.device == "cpu" else [torch, getattr(torch, run.device)]
    before = [place.get_rng_state() for place in places]
    yield
    if not all(torch.equal(place.get_rng_state(), one) for place, one in zip(places, before, strict=True)):
        raise Unsupported(
            f"processes={run.processes}: {run.model.name} draws random numbers that are not the same in each"
        )
