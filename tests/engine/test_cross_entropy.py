"""Cross-entropy of many models at once: torch's numbers, whoever else is computed beside a model."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bench.engine.cross_entropy import Columnwise

Loss = Callable[[Tensor, Tensor], Tensor]


def loss(logits: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(logits, targets, reduction="sum")


def compute(logits: Tensor, targets: Tensor, dim: int | None, function: Loss = loss) -> tuple[Tensor, Tensor]:
    """Return losses (num,) and gradients like the logits."""

    def columnwise(logits: Tensor, targets: Tensor) -> Tensor:
        with Columnwise():
            return function(logits, targets)

    leaf = logits.clone().requires_grad_()
    losses = torch.func.vmap(columnwise, in_dims=(0, dim))(leaf, targets)
    # Each counts differently: a gradient that is not scaled would show.
    losses.backward(torch.arange(1.0, len(leaf) + 1, dtype=leaf.dtype))
    assert leaf.grad is not None
    return losses.detach(), leaf.grad


@pytest.fixture
def logits() -> Tensor:
    return 5 * torch.randn(7, 33, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("dim", [0, None], ids=["own targets", "shared targets"])
def test_the_numbers_are_those_of_torch(logits: Tensor, dim: int | None) -> None:
    targets = torch.arange(7 * 33).view(7, 33) % 10
    targets[:, 3] = -100
    targets = targets if dim == 0 else targets[0]
    losses, gradients = compute(logits, targets, dim)
    for place, own in enumerate(logits):
        leaf = own.clone().requires_grad_()
        alone = loss(leaf, targets if dim is None else targets[place])
        alone.backward(torch.tensor(place + 1.0, dtype=torch.float64))
        torch.testing.assert_close(losses[place], alone.detach(), rtol=1e-14, atol=0)
        torch.testing.assert_close(gradients[place], leaf.grad, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_companions_change_no_bit(logits: Tensor, dtype: torch.dtype) -> None:
    targets = torch.arange(33) % 10
    losses, gradients = compute(logits.to(dtype), targets, None)
    # The same factors as there.
    some, own = compute(logits[[0, 1, 2, 5]].to(dtype), targets, None)
    assert torch.equal(losses[[0, 1, 2, 5]], some)
    assert torch.equal(gradients[[0, 1, 2]], own[:3])


def test_anything_else_is_left_to_torch(logits: Tensor) -> None:
    targets = torch.arange(33) % 10

    def smoothed(logits: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(logits, targets, reduction="mean", label_smoothing=0.1)

    losses, _ = compute(logits, targets, None, smoothed)
    alone = torch.stack([smoothed(own, targets) for own in logits])
    torch.testing.assert_close(losses, alone, rtol=1e-13, atol=0)
