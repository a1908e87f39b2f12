"""Validation exact over items: sums over the whole part, divided once, whatever the chunks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from bench.data.dataset import DataSet, Inputs, Part
from bench.engine.cross_entropy import Columnwise
from bench.engine.parallel import Team
from bench.engine.stacked_tensors import spread
from bench.errors import DataError
from bench.forward import forward, read_outputs, sum_loss, widen

Tensors = dict[str, Tensor]

# Members times items that go through the model at once: bounds the memory, and on a CPU suits its cache;
# changes no number.
ITEMS_AT_ONCE = {"cpu": 2**13, "cuda": 2**20}
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
        raise _refuse(data)
    val_loss /= num_items
    return val_loss, data.summarise(val_loss, {name: value / num_items for name, value in added.items()})


def make_evaluate(
    run: Callable[[Tensors, Tensors, Inputs], Any], data: DataSet, *, is_exact: bool
) -> Callable[[Tensors, Tensors, Inputs, Tensor], tuple[Tensor, Tensors]]:
    """Return the function from many models' weights and buffers, and a batch, to their losses and metrics.

    Args:
        run: Gives one model's outputs, from its weights, its buffers and inputs; in evaluation mode.
        data: Whose losses they are; both are sums over items.
        is_exact: Whether no model's last digit may depend on how many there are; see `spread`.
    """

    def compute(
        weights: Tensors, buffers: Tensors, inputs: Inputs, targets: Tensor
    ) -> tuple[Tensor, Tensors]:
        outputs = run(weights, buffers, inputs)
        with Columnwise():
            loss = sum_loss(data, outputs, targets).double()
        return loss, data.metrics(widen(read_outputs(outputs)), targets)

    if not is_exact:
        return torch.func.vmap(compute, in_dims=(0, 0, None, None))
    each = torch.func.vmap(compute, in_dims=(0, 0, 0, None))

    def evaluate(
        weights: Tensors, buffers: Tensors, inputs: Inputs, targets: Tensor
    ) -> tuple[Tensor, Tensors]:
        num = len(next(iter(weights.values())))
        found: tuple[Tensor, Tensors] = each(weights, buffers, spread(inputs, num), targets)
        return found

    return evaluate


def validate_stacked(
    evaluate: Callable[[Tensors, Tensors, Inputs, Tensor], tuple[Tensor, Tensors]],
    held: tuple[Tensors, Tensors],
    data: DataSet,
    part: Part,
) -> list[tuple[float, dict[str, float]]]:
    """Return what `validate` does, of many models at once.

    Args:
        evaluate: From `make_evaluate`.
        held: Weights and buffers by name, `(num_members, *shape)`.
        data: On the models' device.
        part: Which half of its validation rows.

    Returns:
        The mean loss per item and the metrics by name, of each member.
    """
    first = next(iter(held[0].values()))
    num_members, num_items = len(first), 0
    totals = torch.zeros(num_members, dtype=torch.float64)
    sums: Tensors = {}
    with torch.no_grad():
        for inputs, targets in data.val_batches(part):
            chunk = data.count_items(targets)
            num_items += chunk
            num_at_once = max(1, ITEMS_AT_ONCE.get(first.device.type, 2**18) // chunk)
            for start in range(0, num_members, num_at_once):
                places = slice(start, start + num_at_once)
                weights, buffers = ({name: one[places] for name, one in each.items()} for each in held)
                losses, metrics = evaluate(weights, buffers, inputs, targets)
                totals[places] += losses.cpu()
                for name, values in metrics.items():
                    sums.setdefault(name, torch.zeros_like(totals))[places] += values.cpu()
    if num_items == 0:
        raise _refuse(data)
    means = [(total / num_items) for total in totals.tolist()]
    shares = {name: [value / num_items for value in values.tolist()] for name, values in sums.items()}
    return [
        (mean, data.summarise(mean, {name: values[place] for name, values in shares.items()}))
        for place, mean in enumerate(means)
    ]


def _refuse(data: DataSet) -> DataError:
    return DataError(f"data: {data.num_val_rows} validation rows are too few for two parts")
