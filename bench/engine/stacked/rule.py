"""What an update of K models at once takes and promises, so that the engine knows no optimizer by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol

from torch import Tensor

# A float where all members share it, else (num_members,) on the weights' device. Give float64: the rules
# work out what they multiply by in float64 and round it once, as torch does with plain floats.
Number = float | Tensor
# Of one stacked weight: (num_members, *as the torch optimizer keeps for one model), under its names. What
# has the shape () there (step counters, products of decays) is () here too and shared by all members.
State = dict[str, Tensor]

# What a group may hold beside a rule's own options: it does not change what an update means.
_BESIDE = frozenset(
    {"params", "param_names", "lr", "initial_lr", "lr_scale", "kind", "foreach", "fused", "capturable",
     "differentiable", "maximize", "amsgrad"}
)  # fmt: skip
# Options without a formula here.
_REFUSED = ("amsgrad", "maximize", "differentiable", "capturable")


class Rule(Protocol):
    """The update of one class of optimizers, for stacked weights of shape (num_members, *shape).

    A member's new weights and state depend on nothing of its companions, nor on their number or order, bit
    for bit on a CPU. Weights are dense with members outermost, and the tensors of their state lie in memory
    as they do.
    """

    # Names in torch's param_groups that may differ between members, beside lr.
    varying: ClassVar[frozenset[str]]

    def can_stack(self, group: Mapping[str, Any]) -> bool:
        """Return whether there is a formula for a group's options.

        Args:
            group: Of one member's torch optimizer; every member's is to be asked.
        """

    def make_state(self, weight: Tensor, group: Mapping[str, Any]) -> State:
        """Return what torch's optimizer would hold just before its first update.

        Args:
            weight: (num_members, *shape).
            group: A member's, or the options as `update` takes them.
        """

    def update(
        self,
        weights: Sequence[Tensor],
        gradients: Sequence[Tensor],
        states: Sequence[State],
        lr: Tensor,
        options: Mapping[str, Any],
    ) -> None:
        """Update the weights of one group in place, and their state.

        Args:
            weights: Each (num_members, *shape).
            gradients: As the weights; may be written over.
            states: As `make_state` or a torch optimizer made them; tensors that torch makes late are added.
            lr: (num_members,).
            options: Name -> value as in the group; a number that differs is a tensor of (num_members,), betas
                are a tuple of two such.
        """


def is_plain(group: Mapping[str, Any], known: frozenset[str]) -> bool:
    """Return whether a group has no option without a formula, none that is unknown, and no complex weight.

    Args:
        group: Of a torch optimizer.
        known: The options that the rule has formulas for.
    """
    if any(group.get(name) for name in _REFUSED) or not group.keys() <= known | _BESIDE:
        return False
    return all(weight.is_floating_point() for weight in group.get("params", ()))
