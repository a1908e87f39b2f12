"""AdamW for weights in bfloat16, which plain rounding would hold still: torchao's, behind the usual door."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable
from typing import Any

import torch

from bench.errors import Unsupported
from bench.kinds import Fraction, NonNegative


class AdamwStochastic(torch.optim.Optimizer):
    """AdamW that computes in float32 and rounds each new weight up or down by chance, right on average.

    An update of less than half the spacing of bfloat16 numbers is lost by rounding to the nearest; by chance
    it is taken in full once in a while. Weights in other formats get AdamW. Chance is torch's random stream.

    Source: torchao.optim._AdamW with bf16_stochastic_round; AdamW: Loshchilov and Hutter 2019 (arXiv
    1711.05101), algorithm 2. The class compiles its update, once for each shape of weight: the first step
    takes long, and on a CPU it wants a C++ compiler.

    Args:
        params: Parameters, or groups of them.
        lr: Kept as a tensor, which the compiled update reads.
        betas: Of both averages.
        eps: Added to the root of the second.
        weight_decay: Each step takes `lr * weight_decay` off a weight.

    Raises:
        Unsupported: torchao is not installed; the line says how to.
    """

    def __init__(
        self,
        params: Any,
        *,
        lr: NonNegative,
        betas: tuple[Fraction, Fraction],
        eps: NonNegative,
        weight_decay: NonNegative,
    ) -> None:
        options: dict[str, Any] = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, options)
        # Made over the same groups, whose lr becomes a tensor here.
        self._inner = _load()(self.param_groups, **options, bf16_stochastic_round=True)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the weights once.

        Args:
            closure: Makes the gradients and returns the loss; called once.

        Returns:
            What the closure returned, or None.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            group["lr"] = torch.as_tensor(group["lr"], dtype=torch.float32)
        # What is set or loaded here is what it works on.
        self._inner.param_groups, self._inner.state = self.param_groups, self.state
        self._inner.step()
        return loss


def _load() -> Callable[..., torch.optim.Optimizer]:
    before = logging.root.manager.disable
    # On import it lists the parts of itself that only a GPU could load.
    logging.disable(logging.WARNING)
    try:
        made: Callable[..., torch.optim.Optimizer] = importlib.import_module("torchao.optim")._AdamW
    except ImportError:
        raise Unsupported("not run: wants the package torchao (pip install bench[lowbit])") from None
    finally:
        logging.disable(before)
    return made
