"""What is wrong with the rows of a data set: shapes, formats, numbers, labels, spread, twins."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor

from bench.data.arrays import Arrays
from bench.data.dataset import DataSet
from bench.forward import list_tensors
from bench.soundness.finding import Finding
from bench.soundness.twins import find_twins

# Rows of a set that is not held whole: they are decoded one by one.
_NUM_SAMPLED = 64
# Numbers of a set held whole up to which its rows are compared with one another before every sweep.
_SMALL = 2**22
# Beyond these a network's usual initial weights do not fit its inputs.
_LARGEST, _SMALLEST_SD = 1e3, 1e-3
# The most frequent class over the rarest: worth a note, worth a warning.
_UNEVEN, _LOPSIDED = 10, 100


class _Side(NamedTuple):
    """Rows of one side, as stored where the set is held whole."""

    name: str
    inputs: list[Tensor]
    targets: Tensor


def examine(data: DataSet, *, is_thorough: bool) -> list[Finding]:
    """Return what is wrong with a data set, errors first.

    Of a set held whole all rows are looked at, of any other a batch of each side. Rows are compared with one
    another where the set is small, or all are asked for.

    Args:
        data: On the CPU.
        is_thorough: Whether to compare the rows of a large set as well.
    """
    found = list(_count_rows(data)) or [*_look(data, is_thorough=is_thorough)]
    return sorted(found, key=lambda one: ("error", "warning", "note").index(one.severity))


def _look(data: DataSet, *, is_thorough: bool) -> Iterator[Finding]:
    batches = [
        _Side("training", *_list(data.train_batch(0, 0, min(_NUM_SAMPLED, data.num_train_rows)))),
        *(_Side("validation", *_list(batch)) for batch in islice(data.val_batches("report"), 1)),
    ]
    shapes = [finding for side in batches for finding in _check_shapes(data, side)]
    yield from shapes
    sides = batches
    if isinstance(data, Arrays):
        sides = [
            _Side("training", [data.train_inputs], data.train_targets),
            _Side("validation", [data.val_inputs], data.val_targets),
        ]
    for side in sides:
        yield from _check_numbers(side)
        yield from _check_labels(data, side)
    if shapes or data.input_kind == "point":
        return
    yield from _check_spread(data, batches[0], sides[0])
    if isinstance(data, Arrays) and (is_thorough or data.train_inputs.numel() <= _SMALL):
        for text, advice, is_bad in find_twins(data):
            yield Finding("warning" if is_bad else "note", text, advice)


def _count_rows(data: DataSet) -> Iterator[Finding]:
    for name, num, least in (("training", data.num_train_rows, 1), ("validation", data.num_val_rows, 2)):
        if num < least:
            text = f"{num} {name} rows, wants at least {least}"
            yield Finding("error", text, "another share of rows to hold out, or more data")
    if isinstance(data, Arrays):
        for name, inputs, targets in (
            ("training", data.train_inputs, data.train_targets),
            ("validation", data.val_inputs, data.val_targets),
        ):
            if len(inputs) != len(targets):
                text = f"{len(inputs)} {name} inputs for {len(targets)} targets"
                yield Finding("error", text, "a target for each input")


def _check_shapes(data: DataSet, side: _Side) -> Iterator[Finding]:
    for inputs in side.inputs:
        if inputs.numel() == 0:
            text = f"a {side.name} input holds nothing: its shape is {tuple(inputs.shape[1:])}"
            yield Finding("error", text, "leave out what has no length")
            return
        if len(inputs) != len(side.targets):
            text = f"{len(inputs)} {side.name} inputs for {len(side.targets)} targets"
            yield Finding("error", text, "a target for each input")
    first = side.inputs[0]
    if data.input_kind in ("features", "image", "tokens"):
        if tuple(first.shape[1:]) != data.input_shape:
            text = f"a {side.name} input has the shape {tuple(first.shape[1:])}, not {data.input_shape}"
            yield Finding("error", text, "input_shape says what a model is built for")
        is_right = first.dtype == torch.int64 if data.input_kind == "tokens" else first.is_floating_point()
        if not is_right:
            wanted = "int64" if data.input_kind == "tokens" else "float32"
            yield Finding(
                "error", f"{side.name} inputs are {_name(first)}", f"{wanted} for {data.input_kind}"
            )
    for tensor in (first, side.targets):
        if tensor.dtype == torch.float64:
            what = "inputs" if tensor is first else "targets"
            yield Finding(
                "warning", f"{side.name} {what} are float64", "float32: weights are, and half the size"
            )


def _check_numbers(side: _Side) -> Iterator[Finding]:
    for what, tensor in (*(("inputs", one) for one in side.inputs), ("targets", side.targets)):
        if not tensor.is_floating_point() or not tensor.numel():
            continue
        is_finite = torch.isfinite(tensor)
        if not is_finite.all():
            rows = (~is_finite.flatten(1).all(dim=1) if tensor.dim() > 1 else ~is_finite).nonzero()
            text = (
                f"{len(rows)} rows of the {side.name} {what} hold NaN or infinity, first row {int(rows[0])}"
            )
            yield Finding("error", text, "mend or leave out these rows: one of them makes every weight NaN")


def _check_labels(data: DataSet, side: _Side) -> Iterator[Finding]:
    labels = side.targets
    is_class = getattr(data, "task", None) == "classification" or data.input_kind == "tokens"
    if not is_class or not labels.numel():
        return
    if labels.dtype != torch.int64:
        yield Finding("error", f"{side.name} labels are {_name(labels)}", "int64 for classes")
        return
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= data.num_outputs:
        text = f"{side.name} labels go from {low} to {high}"
        yield Finding("error", text, f"0 to {data.num_outputs - 1} for {data.num_outputs} classes")
        return
    if data.input_kind == "tokens" or side.name != "training" or not isinstance(data, Arrays):
        return
    counts = torch.bincount(labels.flatten(), minlength=data.num_outputs)
    absent, most = int((counts == 0).sum()), int(counts.max())
    if absent:
        text = f"{absent} of {data.num_outputs} classes have no training row"
        yield Finding("warning", text, "fewer outputs, or rows of these classes")
    if most == int(counts.sum()):
        yield Finding("error", "all training labels are the same", "there is nothing to tell apart")
    elif (ratio := most / max(1, int(counts[counts > 0].min()))) > _UNEVEN:
        text = f"the most frequent class has {ratio:.0f} times the rows of the rarest"
        advice = "accuracy flatters: read the loss, or weigh the classes"
        yield Finding("warning" if ratio > _LOPSIDED else "note", text, advice)


def _check_spread(data: DataSet, batch: _Side, side: _Side) -> Iterator[Finding]:
    """Look at how training inputs vary: over rows, within a row, and in size."""
    seen = batch.inputs[0]
    if seen.is_floating_point():
        largest, sd = float(seen.abs().max()), float(seen.double().std())
        if largest > _LARGEST or 0 < sd < _SMALLEST_SD:
            text = f"inputs reach {largest:.3g} with a standard deviation of {sd:.3g}"
            yield Finding("warning", text, "scale them to about 1: usual initial weights and lrs expect that")
    rows = side.inputs[0].flatten(1)
    if len(rows) < 2:
        return
    is_constant = (rows == rows[0]).all(dim=0)
    num, width = int(is_constant.sum()), rows.shape[1]
    if num == width:
        yield Finding("error", "all training inputs are the same", "there is nothing to learn from")
    elif num and data.input_kind == "features":
        text = f"{num} of {width} features have one value in all training rows"
        yield Finding("warning" if num > width / 2 else "note", text, "they can be left out")
    num = int((rows == rows[:, :1]).all(dim=1).sum()) if width > 1 else 0
    if num:
        text = f"{num} training inputs hold one value only"
        advice = "an empty item, a blank picture or nothing but padding: leave it out"
        yield Finding("note" if data.input_kind == "tokens" else "warning", text, advice)


def _list(batch: tuple[object, Tensor]) -> tuple[list[Tensor], Tensor]:
    inputs, targets = batch
    return list(list_tensors(inputs)), targets  # type: ignore[arg-type]


def _name(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
