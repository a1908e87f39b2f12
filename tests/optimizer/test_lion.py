"""Lion steps as its paper's algorithm 2 says, written here once more in plain arrays."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from bench.optimizer.lion import Lion

LR, BETA1, BETA2, DECAY = 0.01, 0.9, 0.99, 0.3
SHAPES = ((4, 3), (5,))


def draw_gradients(num_steps: int) -> list[list[NDArray[np.float64]]]:
    stream = np.random.default_rng(0)
    gradients = [[stream.normal(size=shape) for shape in SHAPES] for _ in range(num_steps)]
    # Where no gradient ever was, the sign is 0 and only the decay acts.
    for step in gradients:
        step[1][0] = 0.0
    return gradients


@pytest.mark.parametrize("foreach", [True, False, None])
def test_it_follows_the_paper(foreach: bool | None) -> None:
    gradients = draw_gradients(30)
    weights = [torch.ones(shape, dtype=torch.float64, requires_grad=True) for shape in SHAPES]
    optimizer = Lion(weights, lr=LR, betas=(BETA1, BETA2), weight_decay=DECAY, foreach=foreach)
    expected = [np.ones(shape) for shape in SHAPES]
    momenta = [np.zeros(shape) for shape in SHAPES]
    for step in gradients:
        for index, gradient in enumerate(step):
            direction = np.sign(BETA1 * momenta[index] + (1 - BETA1) * gradient)
            expected[index] = expected[index] - LR * (direction + DECAY * expected[index])
            momenta[index] = BETA2 * momenta[index] + (1 - BETA2) * gradient
            weights[index].grad = torch.from_numpy(gradient)
        optimizer.step()
    for weight, wanted in zip(weights, expected, strict=True):
        np.testing.assert_allclose(weight.detach().numpy(), wanted, rtol=1e-12)
    assert weights[1][0].item() == pytest.approx((1 - LR * DECAY) ** 30, rel=1e-12)


def test_a_weight_without_a_gradient_stays() -> None:
    weights = [torch.ones(3, requires_grad=True), torch.ones(3, requires_grad=True)]
    optimizer = Lion(weights, lr=LR, betas=(BETA1, BETA2), weight_decay=DECAY)
    assert optimizer.step(lambda: weights[0].sum().backward() or 7.0) == 7.0
    assert torch.equal(weights[1].detach(), torch.ones(3)) and not torch.equal(weights[0], weights[1])
    # Half of AdamW's state: one number a weight.
    assert [list(state) for state in optimizer.state.values()] == [["exp_avg"]]


@pytest.mark.parametrize("wrong", [{"lr": -1.0}, {"weight_decay": -1.0}, {"betas": (0.9, 1.0)}])
def test_values_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    right = {"lr": LR, "betas": (BETA1, BETA2), "weight_decay": DECAY}
    with pytest.raises(ValueError, match="want"):
        Lion([torch.ones(3, requires_grad=True)], **(right | wrong))  # type: ignore[arg-type]


def test_complex_gradients_are_refused() -> None:
    weight = torch.ones(3, dtype=torch.complex64, requires_grad=True)
    weight.grad = torch.ones_like(weight)
    with pytest.raises(RuntimeError, match="no complex or sparse"):
        Lion([weight], lr=LR, betas=(BETA1, BETA2), weight_decay=DECAY).step()
