"""Windows hold the text and the same text one later, and an epoch of them every token once."""

from __future__ import annotations

import itertools
import math
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.data.shards import Mapped, Shard
from bench.data.tokens import CHUNK_TOKENS, Resident, Source, Tokens
from bench.errors import DataError


def resident(tokens: np.ndarray) -> Source:
    return Resident(torch.from_numpy(tokens.astype(np.uint8)))


def mapped(tokens: np.ndarray) -> Source:
    """Return the tokens as three files of uneven length, one of a single token."""
    cuts = np.split(tokens.astype(np.uint16), [len(tokens) // 3, len(tokens) // 3 + 1])
    return Mapped([Shard(Path("none.bin"), cut, "") for cut in cuts if len(cut)])


def make(
    num_train: int = 60,
    num_val: int = 41,
    length: int = 5,
    num_val_tokens: int = 1000,
    item: str = "byte",
    as_source: object = resident,
) -> Tokens:
    """Return counted tokens: each tells its place, the held-out ones go on from the others."""
    text = np.arange(num_train + num_val)
    return Tokens(
        item=item,
        train=as_source(text[:num_train]),  # type: ignore[operator]
        val=as_source(text[num_train:]),  # type: ignore[operator]
        num_outputs=256,
        length=length,
        num_val_tokens=num_val_tokens,
        sha256="",
        train_name="data.train",
        val_name="data.val",
    )


def starts(data: Tokens, seed: int, step: int, batch_size: int) -> list[int]:
    inputs, targets = data.train_batch(seed, step, batch_size)
    assert isinstance(inputs, torch.Tensor)
    assert inputs.dtype == targets.dtype == torch.int64
    assert inputs.shape == targets.shape == (len(inputs), data.items_per_row)
    assert torch.equal(inputs - inputs[:, :1], torch.arange(data.items_per_row).expand_as(inputs))
    assert torch.equal(targets, inputs + 1)
    return inputs[:, 0].tolist()


def test_it_says_what_a_model_must_fit() -> None:
    data = make()
    assert (data.input_kind, data.input_shape, data.items_per_row, data.num_outputs) == (
        "tokens",
        (5,),
        5,
        256,
    )
    assert data.count_items(data.train_batch(0, 0, 4)[1]) == 20


@pytest.mark.parametrize("as_source", [resident, mapped])
@given(num=st.integers(11, 99), length=st.integers(1, 5), size=st.integers(1, 9), seed=st.integers(0, 2**40))
def test_an_epoch_trains_on_no_token_twice(
    as_source: object, num: int, length: int, size: int, seed: int
) -> None:
    data = make(num_train=num, length=length, as_source=as_source)
    size = min(size, data.num_train_rows - 1) or 1
    steps_per_epoch = data.num_train_rows // size
    for epoch in range(2):
        steps = range(epoch * steps_per_epoch, (epoch + 1) * steps_per_epoch)
        seen = sorted(start for step in steps for start in starts(data, seed, step, size))
        assert len(seen) == steps_per_epoch * size
        assert all(later - earlier >= length for earlier, later in itertools.pairwise(seen))
        assert seen[0] >= 0 and seen[-1] + length < num


def test_windows_begin_elsewhere_in_another_epoch() -> None:
    data = make(num_train=100, length=10)
    steps_per_epoch = data.num_train_rows // 3
    shifts = {starts(data, 0, epoch * steps_per_epoch, 3)[0] % 10 for epoch in range(60)}
    assert shifts == set(range(10))


def test_a_batch_does_not_depend_on_what_was_asked_before() -> None:
    asked = [(seed, step) for seed in (0, 1, 2) for step in range(9)]
    expected = {at: starts(make(), *at, 4) for at in asked}
    assert len({tuple(batch) for batch in expected.values()}) == len(asked)
    data = make()
    order = asked * 3
    random.Random(0).shuffle(order)
    assert {at: starts(data, *at, 4) for at in order} == expected


def test_the_order_is_frozen() -> None:
    # Every stored run rests on it.
    assert starts(make(), 0, 0, 4) == [21, 1, 51, 36]


@pytest.mark.parametrize("batch_size", [11, 12, 1000])
def test_a_batch_of_everything_is_the_text_in_order(batch_size: int) -> None:
    assert starts(make(), 3, 7, batch_size) == list(range(0, 55, 5))


def test_both_kinds_of_source_give_the_same_windows() -> None:
    here, on_disk = make(), make(as_source=mapped)
    for step in range(4):
        assert torch.equal(here.train_batch(1, step, 4)[1], on_disk.train_batch(1, step, 4)[1])


def test_the_two_validation_parts_predict_every_held_out_token_once() -> None:
    data = make(num_train=60, num_val=43, length=5)
    parts = [torch.cat([targets for _, targets in data.val_batches(p)]) for p in ("search", "report")]
    # 43 tokens are 8 windows of 5 predictions each; the first token has nothing before it.
    assert [part[:, 0].tolist() for part in parts] == [[61, 71, 81, 91], [66, 76, 86, 96]]
    assert sorted(torch.cat(parts).flatten().tolist()) == list(range(61, 101))
    assert data.num_val_rows == 8


def test_fewer_validation_windows_are_spread_over_all_that_is_held_out() -> None:
    data = make(num_train=60, num_val=101, length=5, num_val_tokens=29)
    firsts = sorted(
        int(row[0]) - 60 for part in ("search", "report") for x, _ in data.val_batches(part) for row in x
    )
    assert firsts == [0, 20, 40, 60, 80]


def test_validation_comes_in_chunks_of_bounded_size() -> None:
    text = torch.zeros(3 * CHUNK_TOKENS, dtype=torch.uint8)
    arguments = {"item": "byte", "length": 64, "num_val_tokens": 10**6, "sha256": ""}
    names = {"train_name": "", "val_name": ""}

    def sizes(num_outputs: int) -> list[int]:
        data = Tokens(train=Resident(text), val=Resident(text), num_outputs=num_outputs, **arguments, **names)  # type: ignore[arg-type]
        return [len(targets) for _, targets in data.val_batches("search")]

    # 767 windows, 384 of them in this half.
    assert sizes(10) == [256, 128]
    assert sizes(2**16) == [64] * 6


def test_the_loss_is_cross_entropy_summed_over_tokens() -> None:
    data = make()
    outputs = torch.zeros(2, 5, 256)
    outputs[0, 0, 7] = 9.0
    targets = torch.full((2, 5), 7)
    expected = 9 * math.log(256) + math.log(1 + 255 * math.exp(-9))
    assert data.loss(outputs, targets).item() == pytest.approx(expected, rel=1e-6)
    assert data.metrics(outputs, targets)["accuracy"].item() == 1
    assert data.loss(outputs.bfloat16(), targets).dtype == torch.float32


def test_bytes_are_told_in_bits() -> None:
    assert make().summarise(math.log(2), {"accuracy": 0.5}) == {"accuracy": 0.5, "bits_per_byte": 1.0}
    assert make(item="token").summarise(1.0, {"accuracy": 0.5}) == {"accuracy": 0.5}


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"length": 0}, "data.length: wants a whole number >= 1, got 0"),
        ({"num_val_tokens": 9}, "data.num_val_tokens: wants a whole number >= 10, two windows, got 9"),
        ({"num_train": 10}, "data.train: wants at least 11 bytes, got 10"),
        ({"num_val": 10}, "data.val: wants at least 11 bytes, got 10"),
    ],
)
def test_a_text_too_short_is_one_line(changes: dict[str, int], line: str) -> None:
    with pytest.raises(DataError) as caught:
        make(**changes)  # type: ignore[arg-type]
    assert str(caught.value) == line
    if "num_" in line or "at least" in line:
        make(**{key: value + 1 for key, value in changes.items()})  # type: ignore[arg-type]


def test_moving_leaves_the_original_where_it_was() -> None:
    data = make()
    expected = starts(data, 0, 0, 4)
    moved = data.to("meta")
    assert moved.train_batch(0, 0, 4)[0].device.type == "meta"  # type: ignore[union-attr]
    assert starts(data, 0, 0, 4) == expected
