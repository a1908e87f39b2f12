"""Validation exact over items: sums over the whole part, divided once, whatever the chunks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from bench.data.dataset import DataSet, Inputs, Part
from bench.engine.parallel import Team
from bench.errors import DataError
from bench.forward import forward, read_outputs, sum_loss, widen

# No metric has such a name.
_LOSS = ""


def validate(
    model: nn.Module,
    data: DataSet,
    part: Part,
    call: Callable[[nn.Module, Inputs], Any] = forward,
    team: Team | None = None,
) -> tuple[float, dict[str, float]]:
    """Return the exact loss and metrics of a model on one validation part: sums over items, divided once.

    Args:
        model: In evaluation mode, on the data's device.
        data: Its validation rows are used.
        part: Which half of them.
        call: Calls the model in the number format of its training.
        team: Processes that share the chunks; each of them calls this, and gets the same.

    Returns:
        The mean loss per item, and the metrics by name.
    """
    total: Tensor | None = None
    sums: dict[str, Tensor] = {}
    num_items = 0
    with torch.no_grad():
        for number, (inputs, targets) in enumerate(data.val_batches(part)):
            if team is not None and number % team.size != team.rank:
                continue
            outputs = call(model, inputs)
            loss = sum_loss(data, outputs, targets).double()
            total = loss if total is None else total + loss
            num_items += data.count_items(targets)
            for name, value in data.metrics(widen(read_outputs(outputs)), targets).items():
                sums[name] = sums[name] + value if name in sums else value
    added = {name: float(value) for name, value in sums.items()}
    val_loss = 0.0 if total is None else total.item()
    if team is not None:
        num_items, added = team.add_sums(num_items, added | {_LOSS: val_loss})
        val_loss = added.pop(_LOSS)
    if num_items == 0:
        raise DataError(f"data: {data.num_val_rows} validation rows are too few for two parts")
    val_loss /= num_items
    return val_loss, data.summarise(val_loss, {name: value / num_items for name, value in added.items()})
