"""Lion, which steps by the sign of a momentum alone, with half of AdamW's state: torch has none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from bench.kinds import Fraction, NonNegative


class Lion(torch.optim.Optimizer):
    """Sign of an interpolated momentum, with decoupled weight decay.

    Source: Chen et al., 2023, "Symbolic Discovery of Optimization Algorithms", arXiv 2302.06675, algorithm 2.
    Deviations: none in exact arithmetic. Both averages are taken as `m + (1 - beta) (g - m)`, one operation,
    and the decay is taken off the weight before the sign, `w (1 - lr weight_decay) - lr sign`, as in torch's
    AdamW; last bits differ from the paper's order.

    Args:
        params: Parameters, or groups of them.
        lr: The size of every coordinate's step; three to ten times smaller than AdamW's.
        betas: Of the interpolation that is signed, and of the momentum that is kept.
        weight_decay: Each step takes `lr * weight_decay` off a weight.
        foreach: One call per operation for all parameters of a group, rather than one per parameter: faster,
            and it holds all updates at once, as much memory as the weights. None: yes.

    Raises:
        ValueError: An argument is out of range.
    """

    def __init__(
        self,
        params: Any,
        *,
        lr: NonNegative,
        betas: tuple[Fraction, Fraction],
        weight_decay: NonNegative,
        foreach: bool | None = None,
    ) -> None:
        if lr < 0 or weight_decay < 0:
            raise ValueError(f"lr and weight_decay want numbers >= 0, got {lr} and {weight_decay}")
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"betas want numbers >= 0 and < 1, got {betas}")
        defaults = {"lr": lr, "betas": betas, "weight_decay": weight_decay, "foreach": foreach}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the weights once.

        Args:
            closure: Makes the gradients and returns the loss; called once.

        Returns:
            What the closure returned, or None.

        Raises:
            RuntimeError: A gradient is complex or sparse.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            gradients = [weight.grad for weight in weights]
            if any(gradient.is_sparse or gradient.is_complex() for gradient in gradients):
                raise RuntimeError("Lion takes no complex or sparse gradients")
            momenta = [self._momentum(weight) for weight in weights]
            update = _update_one_by_one if group["foreach"] is False else _update_together
            if weights:
                update(weights, gradients, momenta, group["lr"], group["betas"], group["weight_decay"])
        return loss

    def _momentum(self, weight: Tensor) -> Tensor:
        state = self.state[weight]
        if not state:
            state["exp_avg"] = torch.zeros_like(weight, memory_format=torch.preserve_format)
        momentum: Tensor = state["exp_avg"]
        return momentum


def _update_one_by_one(
    weights: list[Tensor],
    gradients: list[Tensor],
    momenta: list[Tensor],
    lr: float,
    betas: tuple[float, float],
    weight_decay: float,
) -> None:
    for weight, gradient, momentum in zip(weights, gradients, momenta, strict=True):
        direction = momentum.lerp(gradient, 1 - betas[0]).sign_()
        weight.mul_(1 - lr * weight_decay).add_(direction, alpha=-lr)
        momentum.lerp_(gradient, 1 - betas[1])


def _update_together(
    weights: list[Tensor],
    gradients: list[Tensor],
    momenta: list[Tensor],
    lr: float,
    betas: tuple[float, float],
    weight_decay: float,
) -> None:
    directions = torch._foreach_lerp(momenta, gradients, 1 - betas[0])
    torch._foreach_sign_(directions)
    torch._foreach_mul_(weights, 1 - lr * weight_decay)
    torch._foreach_add_(weights, directions, alpha=-lr)
    torch._foreach_lerp_(momenta, gradients, 1 - betas[1])
