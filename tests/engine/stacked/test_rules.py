"""Many models updated at once go where each one's own torch optimizer takes it, whoever the others are."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.engine.stacked import find_rule
from bench.engine.stacked.rule import Rule, State
from bench.optimizer.lion import Lion
from bench.optimizer.muon import Muon

# Matrices, wide and tall, vectors, a kernel, and a scalar: none a multiple of a vector register but one.
SHAPES = ((7, 5), (3, 9), (7,), (4, 3, 3, 2), (), (16, 8))
SHARED = frozenset({"step", "mu_product"})
LRS = (1e-3, 3e-2, 2e-3, 1e-2, 5e-3)
BETAS = ((0.9, 0.999), (0.5, 0.9), (0.9, 0.999), (0.95, 0.99), (0.0, 0.9))
Options = dict[str, Any]

# Class, options of all members, options that differ: one value a member.
CASES: dict[str, tuple[type[torch.optim.Optimizer], Options, Options]] = {
    "sgd": (torch.optim.SGD, {}, {}),
    "sgd l2": (torch.optim.SGD, {}, {"weight_decay": (0.1, 0, 0.2, 1e-4, 0.01)}),
    "momentum": (torch.optim.SGD, {"momentum": 0.9}, {}),
    "momentum dampened": (
        torch.optim.SGD,
        {},
        {"momentum": (0.9, 0.5, 0.0, 0.9, 0.99), "dampening": (0.1, 0, 0.3, 0.5, 0)},
    ),
    "nesterov": (
        torch.optim.SGD,
        {"nesterov": True, "weight_decay": 0.1},
        {"momentum": (0.9, 0.5, 0.8, 0.9, 0.99)},
    ),
    "adam": (torch.optim.Adam, {}, {}),
    "adam l2": (
        torch.optim.Adam,
        {},
        {"weight_decay": (0.1, 0, 0.2, 0, 1), "betas": BETAS, "eps": (1e-8, 1e-3, 1e-8, 0.1, 1e-4)},
    ),
    "adamw": (torch.optim.AdamW, {"weight_decay": 0.3, "fused": True}, {}),
    "adamw varied": (
        torch.optim.AdamW,
        {},
        {"weight_decay": (0.1, 0, 0.2, 0, 1), "betas": BETAS, "eps": (1e-8, 1e-3, 1e-8, 0.1, 1e-4)},
    ),
    "adam decoupled": (torch.optim.Adam, {"weight_decay": 0.3, "decoupled_weight_decay": True}, {}),
    "rmsprop": (
        torch.optim.RMSprop,
        {},
        {"weight_decay": (0.1, 0, 0.2, 0, 1), "alpha": (0.9, 0.99, 0.5, 0, 0.9), "eps": (1, 0.1, 1e-3, 1, 1)},
    ),
    "rmsprop centred": (torch.optim.RMSprop, {"centered": True, "eps": 1e-2}, {}),
    "rmsprop momentum": (
        torch.optim.RMSprop,
        {"centered": True, "eps": 1e-2},
        {"momentum": (0.9, 0.5, 0.1, 0.8, 0.99)},
    ),
    "adagrad": (torch.optim.Adagrad, {"initial_accumulator_value": 0.1, "fused": True}, {}),
    "adagrad varied": (
        torch.optim.Adagrad,
        {},
        {"weight_decay": (0.1, 0, 0.2, 0, 1), "lr_decay": (0.1, 0, 1, 0, 2), "eps": (1e-8, 1e-3, 1e-8, 1, 1)},
    ),
    "nadam": (torch.optim.NAdam, {}, {"weight_decay": (0.1, 0, 0.2, 0, 1), "eps": (1e-8, 1e-3, 1, 1, 1e-4)}),
    "nadam decoupled": (
        torch.optim.NAdam,
        {"decoupled_weight_decay": True, "weight_decay": 0.3, "betas": (0.0, 0.9)},
        {},
    ),
    "lion": (Lion, {"betas": (0.9, 0.99), "weight_decay": 0.0}, {}),
    "lion varied": (Lion, {}, {"weight_decay": (0.1, 0, 0.2, 0, 1), "betas": BETAS}),
    "adafactor": (torch.optim.Adafactor, {}, {}),
    "adafactor varied": (
        torch.optim.Adafactor,
        {"eps": (1e-2, 1e-3), "beta2_decay": -0.5},
        {"lr": (1e-3, 0.5, 3.0, 0.3, 0.01), "weight_decay": (0.1, 0, 0.2, 0, 1), "d": (1, 2, 1, 1.1, 3)},
    ),
    "muon": (
        Muon,
        {"nesterov": True, "ns_steps": 5, "adjust_lr_fn": "match_rms_adamw", "eps": 1e-8, "momentum": 0.9,
         "betas": (0.9, 0.99), "weight_decay": 0.1},
        {},
    ),
    "muon varied": (
        Muon,
        {"nesterov": False, "ns_steps": 3, "adjust_lr_fn": "original", "eps": 1e-8},
        {"weight_decay": (0.1, 0, 0.2, 0, 1), "betas": BETAS, "momentum": (0.9, 0.5, 0.0, 0.9, 0.99)},
    ),
}  # fmt: skip


def options_of(case: str, member: int) -> Options:
    _, shared, varied = CASES[case]
    return {"lr": LRS[member], **shared, **{name: values[member] for name, values in varied.items()}}


def make_groups(cls: type[torch.optim.Optimizer], weights: list[Tensor]) -> list[dict[str, Any]]:
    if cls is not Muon:
        return [{"params": weights}]
    matrices = [weight for weight in weights if weight.ndim > 1]
    others = [weight for weight in weights if weight.ndim <= 1]
    return [{"params": matrices, "kind": "matrices"}, {"params": others, "kind": "vectors"}]


@functools.cache
def draw(member: int, step: int, dtype: torch.dtype) -> list[Tensor]:
    """Weights at step -1, gradients at others: of one member, whoever the others are."""
    stream = torch.Generator().manual_seed(1000 * member + step + 1)
    return [torch.randn(shape, generator=stream, dtype=torch.float64).to(dtype) for shape in SHAPES]


class Alone:
    """One member with its own torch optimizer."""

    def __init__(self, case: str, member: int, dtype: torch.dtype) -> None:
        self.member, self.dtype = member, dtype
        self.weights = [weight.clone().requires_grad_() for weight in draw(member, -1, dtype)]
        cls = CASES[case][0]
        self.optimizer = cls(make_groups(cls, self.weights), **options_of(case, member))

    def take(self, steps: range) -> None:
        for step in steps:
            for weight, gradient in zip(self.weights, draw(self.member, step, self.dtype), strict=True):
                weight.grad = gradient
            self.optimizer.step()


class Stack:
    """Members updated by the rule; the same member may stand in it more than once."""

    def __init__(self, case: str, members: list[int], dtype: torch.dtype) -> None:
        self.case, self.members, self.dtype = case, members, dtype
        rule = find_rule(CASES[case][0])
        assert rule is not None
        self.rule: Rule = rule
        self.groups = [one.optimizer.param_groups for one in (Alone(case, m, dtype) for m in members)]
        self.weights = self.stack(-1)
        self.states: list[State | None] = [None] * len(SHAPES)
        self.lr = torch.tensor([options_of(case, one)["lr"] for one in members], dtype=torch.float64)

    def stack(self, step: int) -> list[Tensor]:
        each = [draw(member, step, self.dtype) for member in self.members]
        return [torch.stack(one) for one in zip(*each, strict=True)]

    def merge(self, number: int, name: str) -> Any:
        values = [groups[number][name] for groups in self.groups]
        if all(value == values[0] for value in values):
            return values[0]
        assert name in self.rule.varying
        table = torch.tensor(values, dtype=torch.float64)
        return table if table.ndim == 1 else table.unbind(1)

    def positions(self, number: int) -> list[int]:
        if len(self.groups[0]) == 1:
            return list(range(len(SHAPES)))
        return [at for at, shape in enumerate(SHAPES) if (len(shape) > 1) == (number == 0)]

    @torch.no_grad()
    def take(self, steps: range) -> None:
        for step in steps:
            gradients = self.stack(step)
            for number, group in enumerate(self.groups[0]):
                assert all(self.rule.can_stack(groups[number]) for groups in self.groups)
                options = {name: self.merge(number, name) for name in group if name not in ("params", "lr")}
                places = self.positions(number)
                for at in places:
                    if self.states[at] is None:
                        self.states[at] = self.rule.make_state(self.weights[at], group)
                chosen = [[every[at] for at in places] for every in (self.weights, gradients, self.states)]
                self.rule.update(*chosen, self.lr, options)  # type: ignore[arg-type]

    def state_of(self, place: int, at: int) -> State:
        """What the member's own optimizer would hold."""
        state: Mapping[str, Tensor] = self.states[at] or {}
        return {name: (one if name in SHARED else one[place]).clone() for name, one in state.items()}


def compare(stack: Stack, place: int, alone: Alone, tolerance: float) -> None:
    for at, weight in enumerate(alone.weights):
        found, wanted = stack.weights[at][place], weight.detach()
        # Relative to the weight as a whole: a single number may pass near zero.
        assert (found - wanted).abs().max() <= tolerance * wanted.abs().max(), (SHAPES[at], place)
        state = stack.state_of(place, at)
        kept = {name: one for name, one in alone.optimizer.state[weight].items() if one is not None}
        # A member without momentum keeps one here that does nothing.
        assert kept.keys() <= state.keys() and state.keys() - kept.keys() <= {"momentum_buffer"}
        for name, one in kept.items():
            assert (state[name].shape, state[name].dtype) == (one.shape, one.dtype)
            assert (state[name] - one).abs().max() <= tolerance * one.abs().max().clamp_min(1e-30), name


def allowed(case: str, dtype: torch.dtype, lr: float) -> float:
    if dtype == torch.float64:
        return 1e-12
    if case.startswith("muon"):
        # Its bfloat16 rounds 2**-8 of an update, and products of stacks round in another order.
        return 0.05 * lr
    # A sign may turn over.
    return 1e-4 if case.startswith("lion") else 2e-5


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("case", CASES)
def test_each_member_goes_where_its_own_optimizer_takes_it(case: str, dtype: torch.dtype) -> None:
    stack = Stack(case, list(range(5)), dtype)
    stack.take(range(30))
    for member in range(5):
        alone = Alone(case, member, dtype)
        alone.take(range(30))
        compare(stack, member, alone, allowed(case, dtype, LRS[member]))


@pytest.mark.parametrize("case", CASES)
def test_a_member_goes_on_by_itself_and_back_in_the_stack(case: str) -> None:
    stack = Stack(case, list(range(5)), torch.float64)
    stack.take(range(10))
    whole = Alone(case, 3, torch.float64)
    whole.take(range(20))
    left = Alone(case, 3, torch.float64)
    for at, weight in enumerate(left.weights):
        weight.data.copy_(stack.weights[at][3])
        left.optimizer.state[weight].update(stack.state_of(3, at))
    left.take(range(10, 20))
    stack.take(range(10, 20))
    tolerance = allowed(case, torch.float64, LRS[3])
    compare(stack, 3, left, tolerance)
    compare(stack, 3, whole, tolerance)
    # The way back: state that torch made, stacked.
    back = Stack(case, [3], torch.float64)
    for at, weight in enumerate(whole.weights):
        back.weights[at] = weight.detach()[None].clone()
        kept = {name: one for name, one in whole.optimizer.state[weight].items() if one is not None}
        back.states[at] = {k: one.clone() if k in SHARED else one[None].clone() for k, one in kept.items()}
    back.take(range(20, 25))
    whole.take(range(20, 25))
    compare(back, 0, whole, tolerance)


def list_stacks() -> Iterator[tuple[list[int], int]]:
    yield [1, 4, 0, 3, 2, 2, 4, 0], 3
    yield [at * 7 % 5 for at in range(63)] + [3], 63


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("case", CASES)
def test_a_members_numbers_are_the_same_alone_and_among_others(case: str, dtype: torch.dtype) -> None:
    alone = Stack(case, [3], dtype)
    alone.take(range(4))
    for members, place in list_stacks():
        among = Stack(case, members, dtype)
        among.take(range(4))
        for at in range(len(SHAPES)):
            assert torch.equal(among.weights[at][place], alone.weights[at][0]), (SHAPES[at], len(members))
            found, wanted = among.state_of(place, at), alone.state_of(0, at)
            assert all(torch.equal(found[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize("case", ["adamw varied", "adam", "rmsprop", "adafactor varied", "muon varied"])
def test_blocks_that_fit_the_scratch_memory_change_nothing(
    case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Stack(case, [3, 1, 2, 2, 0], torch.float64)
    whole.take(range(3))
    # Two members of the largest weight.
    monkeypatch.setattr("bench.engine.stacked.layout._CPU_BYTES", 2 * 128 * 8)
    blocks = Stack(case, [3, 1, 2, 2, 0], torch.float64)
    blocks.take(range(3))
    assert all(torch.equal(a, b) for a, b in zip(whole.weights, blocks.weights, strict=True))


@pytest.mark.parametrize("case", CASES)
def test_other_layouts_in_memory_change_nothing(case: str) -> None:
    plain, permuted = (Stack(case, [0, 1, 2], torch.float64) for _ in range(2))
    kernel = permuted.weights[3]
    # The columns of a kernel's matrix stand in another order: Newton-Schulz sums in another.
    permuted.weights[3] = kernel.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)
    for stack in (plain, permuted):
        stack.take(range(3))
    tolerance = 0.05 if case.startswith("muon") else 1e-12
    torch.testing.assert_close(plain.weights[3], permuted.weights[3], rtol=tolerance, atol=tolerance)
    # Gradients that several members, or a member's weights, share in memory are copied before they change.
    some = Stack(case, [0, 1, 2], torch.float64)
    one = torch.ones((), dtype=torch.float64)
    some.stack = lambda step: [one.expand(3, *shape) for shape in SHAPES]  # type: ignore[method-assign]
    some.take(range(2))
    assert one == 1


@pytest.mark.parametrize("case", CASES)
def test_weights_of_sixteen_bits_are_stepped(case: str) -> None:
    stack = Stack(case, [0, 1, 2], torch.bfloat16)
    stack.take(range(5))
    for place in range(3):
        alone = Alone(case, place, torch.bfloat16)
        alone.take(range(5))
        for at, weight in enumerate(alone.weights):
            difference = (stack.weights[at][place] - weight).abs().max()
            assert difference <= 0.05 * weight.abs().max(), (SHAPES[at], place)


@pytest.mark.parametrize(
    ("cls", "options"),
    [
        (torch.optim.Adam, {"amsgrad": True}),
        (torch.optim.AdamW, {"maximize": True}),
        (torch.optim.SGD, {"differentiable": True}),
        (torch.optim.SGD, {"maximize": True}),
        (torch.optim.RMSprop, {"maximize": True}),
        (torch.optim.Adagrad, {"differentiable": True}),
        (torch.optim.NAdam, {"maximize": True}),
        (torch.optim.Adafactor, {"maximize": True}),
    ],
)
def test_options_without_a_formula_are_refused(cls: type[torch.optim.Optimizer], options: Options) -> None:
    rule = find_rule(cls)
    assert rule is not None
    weight = torch.ones(3, requires_grad=True)
    plain, special = (cls([weight], **some).param_groups[0] for some in ({}, options))
    assert rule.can_stack(plain) and not rule.can_stack(special)
    # An option of a torch to come, a complex weight, and a subclass, which may step in another way.
    assert not rule.can_stack(plain | {"cautious": False})
    assert not rule.can_stack(plain | {"params": [torch.ones(3, dtype=torch.complex64)]})
    assert find_rule(type("Mine", (cls,), {})) is None
    assert find_rule(torch.optim.Adamax) is None
