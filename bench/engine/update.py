"""The optimizer's share of a population's step: one update of all members, or each member's own in turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from bench.engine.eager import needs_closure
from bench.engine.member import Member
from bench.engine.stacked import find_rule
from bench.engine.stacked.rule import Rule, State
from bench.errors import Unsupported

# Of an optimizer's state: what counts its updates, so that members at one position share it.
_SHARED = frozenset({"step", "mu_product"})
# Of a group: what it is over, what every step sets, and by which of torch's equal ways it is computed.
_OUTSIDE = frozenset({"params", "lr", "fused", "foreach"})


class Update:
    """What members' optimizers do with gradients.

    Where there is a rule for their class, one call updates all members. Any other optimizer takes its own
    step on its member's weights, which go into the stack after it; it draws from its run's random streams.

    Args:
        members: Their optimizers are of one class and differ in numbers only; their weights are views of a
            stack, and what state they have goes into one. Without a rule their weights become their own: an
            optimizer may put new tensors in their place.
        names: Of the stacked weights.

    Raises:
        Unsupported: The optimizer asks for the loss itself.
    """

    def __init__(self, members: Sequence[Member], names: Sequence[str]) -> None:
        self._members = members
        self._names = names
        # By group: the names of its weights, and its options, which are numbers or one number a member.
        self._groups: list[tuple[list[str], dict[str, Any]]] = []
        self._states: dict[str, State] = {}
        self._weights = [dict(member.model.named_parameters()) for member in members]
        self._rule = self._find_rule()
        self._step = 0
        self._is_published = False
        if self._rule is None and needs_closure(members[0].optimizer):
            raise Unsupported(f"{type(members[0].optimizer).__name__} asks for the loss itself in its step")
        if self._rule is None:
            for weight in (one for weights in self._weights for one in weights.values()):
                weight.data = weight.detach().clone()

    @property
    def is_stacked(self) -> bool:
        """Whether one call updates all members."""
        return self._rule is not None

    def apply(self, step: int, weights: Mapping[str, Tensor], gradients: Sequence[Tensor | None]) -> None:
        """Update stacked weights in place.

        Args:
            step: Of the runs, from 0: the schedule's place.
            weights: `(num_members, *shape)` each, by name.
            gradients: Of the weights, in their order; None: this step's loss does not depend on them.
        """
        self._step, self._is_published = step, False
        named = {name: one for name, one in zip(self._names, gradients, strict=True) if one is not None}
        if self._rule is None:
            self._take_turns(named)
            self.refresh(weights)
            return
        for number, (names, options) in enumerate(self._groups):
            used = [name for name in names if name in named]
            if not used:
                continue
            some = weights[used[0]]
            for name in used:
                if name not in self._states:
                    self._states[name] = self._rule.make_state(weights[name], self._group(0, number))
            self._rule.update(
                [weights[name] for name in used],
                [named[name] for name in used],
                [self._states[name] for name in used],
                _spread([member.lrs[number][step] for member in self._members], some),
                options,
            )

    def refresh(self, weights: Mapping[str, Tensor]) -> None:
        """Copy the weights that optimizers without a rule changed into the stack."""
        if self._rule is None:
            for name in self._names:
                weights[name].copy_(torch.stack([own[name].detach() for own in self._weights]))

    def publish(self) -> None:
        """Give each member's optimizer views of its state, under the names of its class."""
        if self._rule is None or self._is_published:
            return
        self._is_published = True
        for place, member in enumerate(self._members):
            for number, group in enumerate(member.optimizer.param_groups):
                group["lr"] = member.lrs[number][self._step]
            for name, state in self._states.items():
                # Each its own counter: torch counts in place.
                own = {key: one.clone() if key in _SHARED else one[place] for key, one in state.items()}
                member.optimizer.state[self._weights[place][name]] = own

    def _find_rule(self) -> Rule | None:
        rule = find_rule(type(self._members[0].optimizer))
        if rule is None:
            return None
        names = {id(weight): name for name, weight in self._weights[0].items()}
        for number, group in enumerate(self._members[0].optimizer.param_groups):
            each = [self._group(place, number) for place in range(len(self._members))]
            options = _merge(each, rule.varying, self._weights[0][self._names[0]])
            if options is None or not all(rule.can_stack(one) for one in each):
                return None
            self._groups.append(([names[id(weight)] for weight in group["params"]], options))
        for name in (name for each, _ in self._groups for name in each):
            found = [
                m.optimizer.state.get(w[name]) for m, w in zip(self._members, self._weights, strict=True)
            ]
            if found[0]:
                self._states[name] = {
                    key: value if key in _SHARED else torch.stack([one[key] for one in found if one])
                    for key, value in found[0].items()
                }
        return rule

    def _group(self, place: int, number: int) -> dict[str, Any]:
        group: dict[str, Any] = self._members[place].optimizer.param_groups[number]
        return group

    def _take_turns(self, gradients: Mapping[str, Tensor]) -> None:
        for place, (member, weights) in enumerate(zip(self._members, self._weights, strict=True)):
            for group, lrs in zip(member.optimizer.param_groups, member.lrs, strict=True):
                group["lr"] = lrs[self._step]
            for name, gradient in gradients.items():
                weights[name].grad = gradient[place]
            with member.streams():
                member.optimizer.step()
            for name in gradients:
                weights[name].grad = None


def _merge(
    groups: Sequence[Mapping[str, Any]], varying: frozenset[str], weight: Tensor
) -> dict[str, Any] | None:
    """Return one group's options over all members: a tensor where numbers differ; None where they may not."""
    merged: dict[str, Any] = {}
    for key in groups[0].keys() - _OUTSIDE:
        values = [group[key] for group in groups]
        if all(value == values[0] for value in values):
            merged[key] = values[0]
        elif key not in varying:
            return None
        elif isinstance(values[0], tuple | list):
            parts = zip(*values, strict=True)
            merged[key] = tuple(each[0] if len(set(each)) == 1 else _spread(each, weight) for each in parts)
        else:
            merged[key] = _spread(values, weight)
    return merged


def _spread(numbers: Sequence[float], like: Tensor) -> Tensor:
    # Rounded once, where they are used; Metal has no float64.
    dtype = torch.float32 if like.device.type == "mps" else torch.float64
    return torch.tensor(numbers, dtype=dtype).to(like.device, non_blocking=True)
