"""What every model promises: its outputs' shape, weights that all learn, dropout by step, stacked members."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from bench.model.batched import quicken
from bench.model.dropout import find_layers, set_step
from tests.models import SHAPES, SMALL, kinds_of, make_inputs, make_model, make_small

WITH_DROPOUT = sorted(set(SMALL) - {"point"})
# More ways through a model than its YAML takes.
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *((option, {}) for option in SMALL),
    ("cnn", {"kernel_size": 5, "is_last_pooled": True, "dense_width": 7}),
    ("resnet", {"depth": 50, "stem": "imagenet", "norm": "batch"}),
    ("vit", {"pooling": "class"}),
    ("gpt", {"is_tied": False, "has_bias": False}),
    ("lstm", {"depth": 1}),
]


def name_variant(variant: tuple[str, dict[str, Any]]) -> str:
    return " ".join([variant[0], *(f"{key}={value}" for key, value in variant[1].items())])


@pytest.fixture(params=VARIANTS, ids=name_variant)
def variant(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    chosen: tuple[str, dict[str, Any]] = request.param
    return chosen


def test_outputs_have_a_column_for_each(variant: tuple[str, dict[str, Any]]) -> None:
    option, changes = variant
    for kind in kinds_of(option):
        model = make_model(option, SHAPES[kind], 3, **(SMALL[option] | changes))
        outputs = model(*make_inputs(kind, batch=5))
        assert outputs.shape == ((5, *SHAPES[kind], 3) if kind == "tokens" else (5, 3))
        assert outputs.dtype == torch.float32 and outputs.isfinite().all()


def test_a_gradient_reaches_every_weight(variant: tuple[str, dict[str, Any]]) -> None:
    option, changes = variant
    model = make_small(option, **changes)
    model(*make_inputs(kinds_of(option)[0], batch=16)).square().sum().backward()
    idle = [name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert idle == []


def test_weights_go_by_the_seed(variant: tuple[str, dict[str, Any]]) -> None:
    option, changes = variant
    one, same, other = (make_small(option, seed=seed, **changes).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("option", WITH_DROPOUT)
def test_a_call_draws_nothing(option: str) -> None:
    model = make_small(option, dropout=0.5)
    before = torch.get_rng_state()
    model(*make_inputs(kinds_of(option)[0]))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("option", WITH_DROPOUT)
def test_dropout_goes_by_step_and_is_off_in_evaluation(option: str) -> None:
    model, plain = make_small(option, dropout=0.5), make_small(option, dropout=0.0)
    layers, inputs = find_layers(model), make_inputs(kinds_of(option)[0])
    assert layers and not find_layers(plain)
    pairs = zip(model.parameters(), plain.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    outputs = []
    for step in (0, 1, 0):
        set_step(layers, seed=0, step=step)
        outputs.append(model(*inputs))
    assert torch.equal(outputs[0], outputs[2]) and not torch.equal(outputs[0], outputs[1])
    assert torch.equal(model.eval()(*inputs), plain.eval()(*inputs))


@pytest.mark.parametrize("option", WITH_DROPOUT)
def test_every_dropout_layer_acts(option: str) -> None:
    model, inputs = make_small(option, dropout=0.5), make_inputs(kinds_of(option)[0])
    layers = find_layers(model)
    set_step(layers, seed=0, step=0)
    before = model(*inputs)
    for layer in layers:
        kept = layer.key.clone()
        layer.key.add_(12345)
        assert not torch.equal(model(*inputs), before)
        layer.key.copy_(kept)


def loss_of(model: nn.Module, inputs: tuple[Tensor, ...]) -> Callable[..., Tensor]:
    return lambda weights, buffers: functional_call(model, (weights, buffers), inputs).square().mean()


def test_members_in_a_stack_get_their_own_gradients(variant: tuple[str, dict[str, Any]]) -> None:
    option, changes = variant
    if option != "point":
        changes = changes | {"dropout": 0.3}
    # In float64, where another order of sums does not show; 16 x 16 so that no norm sees one pixel.
    kind = kinds_of(option)[0]
    shape = (1, 16, 16) if option == "resnet" else SHAPES[kind]
    members = [make_model(option, shape, 3, seed, **(SMALL[option] | changes)).double() for seed in range(2)]
    inputs = tuple(part.double() if part.is_floating_point() else part for part in make_inputs(kind, shape))
    for seed, member in enumerate(members):
        set_step(find_layers(member), seed, step=9)
    weights, buffers = stack_module_state(members)
    shell = make_model(option, shape, 3, 7, **(SMALL[option] | changes)).double()
    quicken(shell)
    losses = vmap(loss_of(shell, inputs))(weights, buffers)
    gradients = dict(zip(weights, torch.autograd.grad(losses.sum(), list(weights.values())), strict=True))
    for number, member in enumerate(members):
        member(*inputs).square().mean().backward()
        for name, weight in member.named_parameters():
            torch.testing.assert_close(gradients[name][number], weight.grad, rtol=1e-6, atol=1e-9)
        # Running statistics too: each member's are in the stack.
        for name, buffer in member.named_buffers():
            torch.testing.assert_close(buffers[name][number], buffer)


@pytest.mark.parametrize("option", ["gpt", "lstm"])
def test_a_later_token_changes_no_earlier_logit(option: str) -> None:
    model = make_small(option, num_outputs=11)
    (tokens,) = make_inputs("tokens", num_outputs=11)
    before = model(tokens)
    for place in range(tokens.shape[1]):
        changed = tokens.clone()
        changed[:, place] = (changed[:, place] + 1) % 11
        after = model(changed)
        assert torch.equal(after[:, :place], before[:, :place])
        assert not torch.isclose(after[:, place], before[:, place]).all(dim=-1).any()
        # A stack takes another path through both.
        alone = vmap(model)(changed.unsqueeze(0))[0]
        torch.testing.assert_close(alone, after, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("option", ["gpt", "lstm"])
def test_shorter_sequences_give_the_same_logits(option: str) -> None:
    model = make_small(option, num_outputs=11)
    (tokens,) = make_inputs("tokens", num_outputs=11)
    torch.testing.assert_close(model(tokens[:, :5]), model(tokens)[:, :5])
