"""The loop trusts a data set to be a pure function of (seed, step), and its sums to add up to the whole."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.data.arrays import CHUNK, Arrays, digest


def make_regression(num_train: int = 10, num_val: int = 4, num_outputs: int = 3) -> Arrays:
    """Return a data set whose single input is the item's row, so that a batch tells what is in it."""

    def side(num: int) -> tuple[torch.Tensor, torch.Tensor]:
        rows = torch.arange(num, dtype=torch.float32).unsqueeze(1)
        return rows, rows.expand(num, num_outputs).clone()

    return Arrays(
        task="regression",
        item="row",
        input_kind="features",
        num_outputs=num_outputs,
        sha256="",
        train=side(num_train),
        val=side(num_val),
    )


def make_classification() -> Arrays:
    images = torch.arange(6 * 4, dtype=torch.float32).reshape(6, 1, 2, 2)
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    return Arrays(
        task="classification",
        item="sample",
        input_kind="image",
        num_outputs=3,
        sha256="",
        train=(images, labels),
        val=(images[:4], labels[:4]),
    )


def rows_of(data: Arrays, seed: int, step: int, batch_size: int) -> list[int]:
    inputs, targets = data.train_batch(seed, step, batch_size)
    assert torch.equal(inputs.expand_as(targets), targets)
    return [int(row) for row in inputs[:, 0]]


def test_it_says_what_a_model_must_fit() -> None:
    assert make_regression().input_shape == (1,)
    data = make_classification()
    assert (data.input_shape, data.num_train_rows, data.num_val_rows) == ((1, 2, 2), 6, 4)


@given(num=st.integers(2, 40), batch_size=st.integers(1, 39), seed=st.integers(0, 2**40))
def test_an_epoch_holds_no_item_twice_and_drops_only_the_incomplete_batch(
    num: int, batch_size: int, seed: int
) -> None:
    batch_size = min(batch_size, num - 1)
    data = make_regression(num_train=num)
    steps_per_epoch = num // batch_size
    for epoch in range(2):
        steps = range(epoch * steps_per_epoch, (epoch + 1) * steps_per_epoch)
        seen = [row for step in steps for row in rows_of(data, seed, step, batch_size)]
        assert len(seen) == len(set(seen)) == steps_per_epoch * batch_size


def test_a_batch_does_not_depend_on_what_was_asked_before() -> None:
    asked = [(seed, step) for seed in (0, 1, 2) for step in range(9)]
    expected = {at: rows_of(make_regression(), *at, 4) for at in asked}
    data = make_regression()
    order = asked * 3
    random.Random(0).shuffle(order)
    assert {at: rows_of(data, *at, 4) for at in order} == expected


def test_orders_differ_between_epochs_and_seeds() -> None:
    data = make_regression(num_train=64)
    firsts = {tuple(rows_of(data, seed, 2 * epoch, 32)) for seed in range(5) for epoch in range(5)}
    assert len(firsts) == 25


def test_the_order_is_frozen() -> None:
    # Every stored run rests on it.
    assert rows_of(make_regression(), 0, 0, 5) == [9, 8, 2, 0, 6]


@pytest.mark.parametrize("batch_size", [10, 11, 1000])
def test_a_batch_of_everything_is_the_stored_set(batch_size: int) -> None:
    assert rows_of(make_regression(), 3, 7, batch_size) == list(range(10))


def test_batches_leave_the_global_stream_alone() -> None:
    before = torch.get_rng_state()
    make_regression().train_batch(0, 5, 4)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_two_validation_parts_give_every_item_once_in_stored_order() -> None:
    data = make_regression(num_val=2 * CHUNK + 5)
    inputs, targets = torch.empty_like(data.val_inputs), torch.empty_like(data.val_targets)
    for start, part in enumerate(("search", "report")):
        batches = list(data.val_batches(part))
        assert [len(chunk) for chunk, _ in batches] == [CHUNK, 3 - start]
        inputs[start::2] = torch.cat([chunk for chunk, _ in batches])
        targets[start::2] = torch.cat([chunk for _, chunk in batches])
    assert torch.equal(inputs, data.val_inputs) and torch.equal(targets, data.val_targets)


def test_squared_error_is_a_sum_over_items_of_a_mean_over_columns() -> None:
    data = make_regression(num_outputs=2)
    outputs, targets = torch.tensor([[1.0, 3.0], [0.0, 0.0]]), torch.tensor([[0.0, 0.0], [0.0, 4.0]])
    assert data.loss(outputs, targets).item() == (1 + 9) / 2 + 16 / 2


def test_cross_entropy_is_a_sum_over_items_and_accuracy_a_share() -> None:
    data = make_classification()
    outputs, targets = torch.tensor([[0.0, 0.0, 0.0], [9.0, 0.0, 0.0]]), torch.tensor([1, 0])
    expected = math.log(3) + math.log(1 + 2 * math.exp(-9))
    assert data.loss(outputs, targets).item() == pytest.approx(expected, rel=1e-6)
    correct = data.metrics(outputs, targets)["accuracy"].item()
    assert correct == 1
    assert data.summarise(0.5, {"accuracy": 3 / 4}) == {"accuracy": 3 / 4}


@pytest.mark.parametrize("data", [make_regression(), make_classification()], ids=["regression", "classes"])
def test_the_loss_is_float32_whatever_the_model_computes_in(data: Arrays) -> None:
    outputs = torch.ones(len(data.val_targets), data.num_outputs, dtype=torch.bfloat16)
    assert data.loss(outputs, data.val_targets).dtype == torch.float32


def test_moving_leaves_the_original_where_it_was() -> None:
    data = make_regression()
    data.train_batch(0, 0, 4)
    moved = data.to("meta")
    assert {moved.train_inputs.device.type, moved.val_targets.device.type} == {"meta"}
    assert moved.train_batch(0, 0, 4)[0].device.type == "meta"
    assert data.train_inputs.device.type == data.train_batch(0, 0, 4)[0].device.type == "cpu"


def test_a_digest_is_of_values_kind_and_shape_but_not_of_memory_layout() -> None:
    table = np.arange(6, dtype=np.int32).reshape(2, 3)
    same = [table.copy(order="F"), table.astype(">i4"), np.ascontiguousarray(table)]
    assert {digest(array) for array in same} == {digest(table)}
    others = [table.reshape(3, 2), table.astype(np.int64), table + 1, table.astype(np.float32)]
    assert len({digest(array) for array in [table, *others]}) == 5
