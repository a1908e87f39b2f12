"""Batches of any shape through models of any manner: tuples, dicts, and Hugging Face-style outputs."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.data.dataset import DataSet, Inputs, Part
from bench.engine.eager import Eager
from bench.engine.validate import validate
from bench.errors import Unsupported
from bench.forward import forward, read_outputs, split_rows, sum_loss
from tests.records import make_run

LENGTH, VOCABULARY = 6, 11


class Sentences(DataSet):
    """Random sentences as dicts of ids, mask and labels, the way a Hugging Face collator gives them."""

    item = "token"
    items_per_row = LENGTH
    input_kind = "tokens"
    input_shape = (LENGTH,)
    num_outputs = VOCABULARY
    sha256 = "0" * 64

    def __init__(self, num_rows: int = 64) -> None:
        ids = torch.randint(VOCABULARY, (num_rows, LENGTH), generator=torch.Generator().manual_seed(0))
        # Every next token is the one before plus one: learnable.
        self.ids = (ids[:, :1] + torch.arange(LENGTH)) % VOCABULARY
        self.num_train_rows = self.num_val_rows = num_rows

    def to(self, device: torch.device | str) -> Self:
        return copy.copy(self)

    def rows(self, rows: slice) -> tuple[Inputs, Tensor]:
        ids = self.ids[rows]
        labels = ids.roll(-1, dims=1)
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}, labels

    def train_batch(self, seed: int, step: int, batch_size: int) -> tuple[Inputs, Tensor]:
        return self.rows(slice((step * batch_size) % 64, (step * batch_size) % 64 + batch_size))

    def val_batches(self, part: Part) -> Iterator[tuple[Inputs, Tensor]]:
        yield self.rows(slice(0 if part == "search" else 1, None, 2))

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(outputs.float().flatten(0, 1), targets.flatten(), reduction="sum")

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        return {"accuracy": (outputs.argmax(-1) == targets).sum()}


@dataclass
class Output:
    logits: Tensor
    loss: Tensor | None = None


class HubModel(nn.Module):
    """Takes ids, mask and labels by name; returns an object with its own mean loss when it sees labels."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, 16)
        self.head = nn.Linear(16, VOCABULARY)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor | None = None) -> Output:
        logits = self.head(self.embedding(input_ids) * attention_mask[..., None])
        if labels is None:
            return Output(logits)
        return Output(logits, F.cross_entropy(logits.flatten(0, 1), labels.flatten()))


def make_engine(num_parts: int = 1) -> tuple[Eager, nn.Module, DataSet]:
    torch.manual_seed(0)
    model, data = HubModel(), Sentences()
    run = make_run()
    budget = run.budget.__class__(
        name="b", steps=30, batch_size=16, hold="steps", accumulate=num_parts, evaluations=1
    )
    run = make_run(budget=budget)
    return Eager(run, model, torch.optim.AdamW(model.parameters(), lr=0.05), data), model, data


def test_a_hub_style_model_trains_on_dicts_and_is_measured_per_token() -> None:
    engine, model, data = make_engine()
    before, _ = validate(model, data, "report")
    assert engine.num_step_items == 16 * LENGTH
    losses = [engine.step(step).item() for step in range(30)]
    after, metrics = validate(model, data, "report")
    assert before == pytest.approx(torch.log(torch.tensor(float(VOCABULARY))).item(), rel=0.2)
    assert losses[0] == pytest.approx(before, rel=0.1)
    assert after < 0.5 * before
    assert 0.8 < metrics["accuracy"] <= 1


def test_a_models_own_loss_is_the_data_sets_where_both_exist() -> None:
    data, model = Sentences(), HubModel()
    inputs, targets = data.train_batch(0, 0, 16)
    outputs = forward(model, inputs)
    torch.testing.assert_close(sum_loss(data, outputs, targets), data.loss(outputs.logits, targets))


@pytest.mark.parametrize("num_parts", [2, 3, 16])
def test_accumulated_parts_make_the_same_step(num_parts: int) -> None:
    whole, model, _ = make_engine()
    parts, other, _ = make_engine(num_parts)
    for step in range(5):
        torch.testing.assert_close(whole.step(step), parts.step(step), rtol=1e-6, atol=1e-6)
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-6)


def test_rows_are_split_alike_in_every_shape_of_inputs() -> None:
    rows = torch.arange(10.0)[:, None]
    assert [len(part) for part in split_rows(rows, 3)] == [4, 4, 2]  # type: ignore[arg-type]
    pairs = split_rows((rows, -rows), 3)
    named = split_rows({"x": rows, "y": -rows}, 3)
    for (one, two), both in zip(pairs, named, strict=True):  # type: ignore[misc]
        assert torch.equal(one, both["x"]) and torch.equal(two, both["y"])  # type: ignore[index, call-overload]


def test_outputs_without_a_tensor_do_not_fit() -> None:
    with pytest.raises(Unsupported, match="does not fit: the model gives a str without logits"):
        read_outputs("nothing")
