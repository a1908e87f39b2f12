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

    traced, stream = Traced(work), torch.Generator().manual_seed(0)
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
