"""What is called again and again with the same shapes is seen to work once more, and never called again."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.engine.traced import Traced


def test_the_third_call_goes_by_the_trace() -> None:
    calls = []

    def work(weights: dict[str, Tensor], inputs: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        calls.append(len(inputs))
        own = {name: weight.detach().requires_grad_() for name, weight in weights.items()}
        loss = torch.nn.functional.linear(inputs, own["w"], own["b"]).relu().square().sum()
        found = torch.autograd.grad(loss, list(own.values()))
        return loss.detach(), dict(zip(own, found, strict=True))

    traced, stream = Traced(work, object()), torch.Generator().manual_seed(0)
    weights = {"w": torch.randn(3, 4, generator=stream), "b": torch.randn(3, generator=stream)}
    for number in range(4):
        inputs = torch.randn(5, 4, generator=stream)
        loss, gradients = traced(weights, inputs)
        # As it comes, and traced; from then on Python is left out.
        assert len(calls) == min(number + 1, 2)
        expected, wanted = work(weights, inputs)
        calls.pop()
        assert torch.equal(loss, expected)
        assert all(torch.equal(gradients[name], wanted[name]) for name in weights)
    # Another shape is another function.
    traced(weights, torch.randn(6, 4, generator=stream))
    assert calls[-1] == 6


def test_what_is_wanted_now_and_then_is_left_out_of_all_other_calls() -> None:
    def work(inputs: Tensor, *, is_whole: bool) -> tuple[Tensor, dict[str, Tensor]]:
        return inputs * 2, {"mean": inputs.mean().sinh()} if is_whole else {}

    traced = Traced(work, object(), has_aside=True)
    for number in range(6):
        inputs = torch.full((3,), float(number))
        is_whole = number % 3 == 0
        with torch.autograd.profiler.profile() as seen:
            doubled, aside = traced(inputs, is_whole=is_whole)
        assert torch.equal(doubled, inputs * 2)
        assert aside == ({"mean": inputs.mean().sinh()} if is_whole else {})
        if number > 1:
            names = {event.name.rstrip("_") for event in seen.function_events}
            assert ("aten::sinh" in names) == is_whole


def test_what_was_made_for_the_same_shares_a_trace() -> None:
    calls = []

    def work(inputs: Tensor) -> Tensor:
        calls.append(len(inputs))
        return inputs * 2

    purpose, inputs = object(), torch.ones(3)
    for each in (Traced(work, purpose), Traced(work, purpose), Traced(work, object())):
        for _ in range(3):
            assert torch.equal(each(inputs), inputs * 2)
    # Each as it comes the first time; the second of one purpose is never traced.
    assert len(calls) == 2 + 1 + 2


def test_an_operation_writes_where_its_argument_lies_only_if_nobody_else_reads_that() -> None:
    def work(inputs: Tensor, weights: Tensor) -> dict[str, Tensor]:
        product = inputs @ weights
        read_twice = inputs @ weights.T
        return {
            "chain": product.relu().mul(2.0).exp(),
            "twice": read_twice.sigmoid() + read_twice,
            "given": inputs.relu(),
            "view": (inputs @ weights).T.relu(),
            "wider": (inputs @ weights)[:, :1] * inputs,
            "other": (inputs @ weights).gt(0.0),
            "kept": read_twice,
        }

    stream = torch.Generator().manual_seed(1)
    inputs, weights = (torch.randn(3, 3, generator=stream) for _ in range(2))
    before, expected = inputs.clone(), work(inputs, weights)
    traced = Traced(work, object())
    for _ in range(4):
        found = traced(inputs, weights)
        assert torch.equal(inputs, before)
        assert all(torch.equal(found[name], expected[name]) for name in expected)
    with torch.autograd.profiler.profile() as seen:
        traced(inputs, weights)
    assert {"aten::relu_", "aten::mul_", "aten::exp_"} <= {event.name for event in seen.function_events}
