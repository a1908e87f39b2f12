"""Muon on hidden matrices and AdamW on the rest, as one optimizer: torch's Muon takes matrices only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

import torch

from bench.kinds import Count, Fraction, NonNegative


class Muon(torch.optim.Optimizer):
    """Orthogonalised momentum for hidden matrices, torch's AdamW for vectors, embeddings and the head.

    Source: Jordan et al., 2024, "Muon: An optimizer for hidden layers in neural networks"; one lr and one
    weight decay for both halves as in Liu et al., 2025, "Muon is Scalable for LLM Training", arXiv
    2502.16982, section 2.2: a matrix of A x B steps by `0.2 sqrt(max(A, B))` times lr, an update about as
    large as AdamW's.
    Deviations from Jordan et al.: that factor instead of `sqrt(max(1, A / B))`; weight decay, decoupled; the
    momentum is an average, `m + (1 - momentum) (g - m)`, which the orthogonalisation does not tell from their
    sum. The code is torch's: Newton-Schulz in bfloat16 on every device, one matrix after the other.
    A kernel of more than two dimensions is a matrix of its outputs by everything else. A matrix that stacks
    several, such as an attention's queries, keys and values in one, is orthogonalised as the one it is.

    Args:
        params: Groups, each with a `kind` as `bench.groups` names them; a group may say options of its own.
        lr: Of both halves.
        weight_decay: Of both: each step takes `lr * weight_decay` off a weight.
        momentum: Of hidden matrices.
        nesterov: Whether their momentum looks one gradient ahead.
        ns_steps: Their Newton-Schulz iterations.
        adjust_lr_fn: How their lr depends on their shape; "original" is Jordan et al.'s factor.
        betas: Of everything else.
        eps: Of everything else.
        foreach: torch's flag for everything else.
        fused: torch's flag for everything else.

    Raises:
        ValueError: An argument is out of range, or a group does not say its kind.
    """

    # Asks the builder for groups by kind.
    parameter_kinds: ClassVar[bool] = True

    def __init__(
        self,
        params: Any,
        *,
        lr: NonNegative,
        weight_decay: NonNegative,
        momentum: Fraction,
        nesterov: bool,
        ns_steps: Count,
        adjust_lr_fn: Literal["match_rms_adamw", "original"],
        betas: tuple[Fraction, Fraction],
        eps: NonNegative,
        foreach: bool | None = None,
        fused: bool | None = None,
    ) -> None:
        matrices = torch.optim.Muon(
            [{"params": []}], lr=lr, weight_decay=weight_decay, momentum=momentum, nesterov=nesterov,
            ns_steps=ns_steps, adjust_lr_fn=adjust_lr_fn,
        )  # fmt: skip
        others = torch.optim.AdamW(
            [{"params": []}], lr=lr, weight_decay=weight_decay, betas=betas, eps=eps, foreach=foreach,
            fused=fused,
        )  # fmt: skip
        self._halves = matrices, others
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters under the options of their half; an option that only the other half has is left out.

        Args:
            param_group: Parameters under `params`, their kind under `kind`, and options.

        Raises:
            ValueError: The group does not say its kind.
        """
        if "kind" not in param_group:
            raise ValueError("Muon wants groups that say their kind, as bench.groups makes them")
        matrices, others = self._halves
        options = (matrices if _is_hidden(param_group) else others).defaults
        kept = {name: value for name, value in param_group.items() if name in {"params", "kind", *options}}
        super().add_param_group(options | kept)

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
        matrices, others = self._halves
        # Groups and state are this optimizer's own: what is set, saved or loaded here acts on both halves.
        others.param_groups = [group for group in self.param_groups if not _is_hidden(group)]
        others.state = self.state
        others.step()
        matrices.param_groups = [self._flatten(group) for group in self.param_groups if _is_hidden(group)]
        matrices.step()  # type: ignore[no-untyped-call]
        # The flat views hold gradients, which are to be free when the model's are.
        matrices.param_groups, others.param_groups = [], []
        matrices.state.clear()
        others.state = matrices.state
        return loss

    def _flatten(self, group: dict[str, Any]) -> dict[str, Any]:
        """Return a group over views of its weights as matrices, with their gradients and this state.

        The columns stand as they lie in memory, which a layout (channels last) may choose: the orthogonalised
        update of permuted columns is the permuted update.
        """
        views = []
        for weight in group["params"]:
            if weight.grad is None:
                continue
            order = (0, *sorted(range(1, weight.ndim), key=weight.stride, reverse=True))
            # A view, never a copy: an update of a copy would be lost.
            view = weight.detach().permute(order).view(len(weight), -1)
            view.grad = weight.grad.permute(order).reshape(view.shape)
            self._halves[0].state[view] = self.state[weight]
            views.append(view)
        return group | {"params": views}

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        return state | {"_halves": self._halves}


def _is_hidden(group: dict[str, Any]) -> bool:
    return bool(group["kind"] == "matrices")
