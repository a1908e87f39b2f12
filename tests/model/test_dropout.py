"""A mask is a function of (seed, step, layer, index) alone, and looks like chance in each of them."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap

from bench.model.dropout import Dropout, find_layers, mask_key, set_step
from bench.model.mlp import Mlp

NUM = 2**16


def keep(p: float = 0.5, seed: int = 0, step: int = 0, layer: int = 0, num: int = NUM) -> np.ndarray:
    """Return which of `num` elements are kept, bool."""
    module = Dropout(p)
    module.key.fill_(mask_key(seed, step, layer))
    return (module(torch.ones(num)) != 0).numpy()


def make_model(p: float = 0.5) -> Mlp:
    torch.manual_seed(0)
    arguments = {"activation": "relu", "dropout": p, "initialisation": "torch"}
    return Mlp((6,), 2, depth=2, width=16, shrink=1.0, **arguments)


def hash_in_whole_numbers(bits: int, is_last_shift_taken: bool) -> int:
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        bits = (bits ^ bits >> shift) * factor % 2**32
    return bits ^ bits >> 16 if is_last_shift_taken else bits


@pytest.mark.parametrize("at", [(0, 0, 0), (3, 599, 1), (1_000_007, 123_456, 11)])
def test_masks_are_the_documented_hash(at: tuple[int, int, int]) -> None:
    key = 0x9E3779B9
    for part in (at[0], at[2], at[1]):
        key = hash_in_whole_numbers(key ^ part, is_last_shift_taken=True)
    assert mask_key(*at) % 2**32 == key
    hashes = [hash_in_whole_numbers(hash_in_whole_numbers(i, False) ^ key, False) for i in range(1000)]
    # Read as signed: the upper half lies below zero, and below every threshold of p <= 0.5.
    below = [(bits ^ 2**31) < 0.7 * 2**32 for bits in hashes]
    assert np.array_equal(keep(0.3, *at, num=1000), below)


@pytest.mark.parametrize("p", [0.1, 0.2, 0.5])
def test_the_share_kept_is_as_asked(p: float) -> None:
    num_kept = sum(int(keep(p, seed=seed).sum()) for seed in range(8))
    sd = math.sqrt(8 * NUM * p * (1 - p))
    assert abs(num_kept - 8 * NUM * (1 - p)) < 3 * sd


@pytest.mark.parametrize("p", [0.1, 0.5])
@pytest.mark.parametrize("change", ["seed", "step", "layer"])
def test_neighbours_in_seed_step_and_layer_are_unrelated(change: str, p: float) -> None:
    masks = np.array([keep(p, **{change: value}) for value in range(12)], dtype=float)
    off_diagonal = np.corrcoef(masks)[np.triu_indices(12, k=1)]
    # 66 pairs: their largest |z| exceeds 4.5 once in 2,000 truly random cases.
    assert np.abs(off_diagonal).max() * math.sqrt(NUM) < 4.5
    assert 0.6 < np.mean(off_diagonal**2) * NUM < 1.6


@pytest.mark.parametrize("shift", [1, 2, 3, 4, 8, 63, 64, 65, 512, 4096])
def test_neighbours_within_a_mask_are_unrelated(shift: int) -> None:
    mask = keep().astype(float)
    assert abs(np.corrcoef(mask[shift:], mask[:-shift])[0, 1]) * math.sqrt(NUM) < 4


def test_one_element_over_steps_is_a_fair_coin() -> None:
    kept = np.array([keep(step=step, num=64) for step in range(2048)])
    z = (kept.sum(axis=0) - 1024) / math.sqrt(512)
    assert np.abs(z).max() < 4.5
    assert 0.5 < np.mean(z**2) < 1.7


def test_bytes_of_a_mask_take_all_values_alike() -> None:
    values = np.packbits(np.concatenate([keep(seed=seed) for seed in range(4)]))
    counts = np.bincount(values, minlength=256)
    expected = len(values) / 256
    chi_square = ((counts - expected) ** 2 / expected).sum()
    assert abs(chi_square - 255) < 4 * math.sqrt(2 * 255)


def test_no_two_keys_meet_where_runs_are() -> None:
    steps = {mask_key(0, step, 0) for step in range(20_000)}
    assert len(steps) == 20_000
    assert all(-(2**31) <= key < 2**31 for key in steps)
    # 1,000 keys of 32 bits: a chance of 1e-4 that any two meet.
    assert len({mask_key(*at) for at in itertools.product(range(10), repeat=3)}) == 1000


def test_kept_elements_are_scaled_and_gradients_are_masked_alike() -> None:
    module = Dropout(0.2)
    inputs = torch.linspace(1, 2, 1000, requires_grad=True)
    outputs = module(inputs)
    kept = outputs != 0
    assert torch.equal(outputs[kept], inputs[kept] * (1 / (1 - 0.2)))
    outputs.sum().backward()
    assert torch.equal(inputs.grad, torch.where(kept, torch.tensor(1 / (1 - 0.2)), torch.tensor(0.0)))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_masks_are_the_same_in_every_float_format(dtype: torch.dtype) -> None:
    module = Dropout(0.3)
    outputs = module(torch.ones(8, 32, dtype=dtype))
    assert outputs.dtype == dtype
    assert torch.equal(outputs != 0, module(torch.ones(8, 32)) != 0)


def test_the_mask_goes_by_flat_index() -> None:
    module = Dropout(0.5)
    flat = module(torch.ones(60))
    assert torch.equal(module(torch.ones(3, 4, 5)).flatten(), flat)
    assert torch.equal(module(torch.ones(5, 12).t().contiguous()).flatten(), flat)


@pytest.mark.parametrize("p", [0.0, 1e-12])
def test_next_to_nothing_drops_nothing(p: float) -> None:
    inputs = torch.randn(1000)
    assert torch.equal(Dropout(p)(inputs), inputs)


def test_evaluation_is_the_identity() -> None:
    inputs = torch.randn(1000)
    assert Dropout(0.5).eval()(inputs) is inputs


def test_it_repeats_itself_and_leaves_the_global_stream_alone() -> None:
    model, inputs = make_model(), torch.randn(64, 6)
    layers = find_layers(model)
    before = torch.get_rng_state()
    outputs = []
    for seed, step in ((0, 0), (0, 1), (1, 0), (0, 0)):
        set_step(layers, seed, step)
        outputs.append(model(inputs))
    assert torch.equal(outputs[0], outputs[3])
    assert not torch.equal(outputs[0], outputs[1]) and not torch.equal(outputs[0], outputs[2])
    assert torch.equal(torch.get_rng_state(), before)


def test_layers_are_numbered_in_module_order_and_keys_are_not_stored() -> None:
    model = make_model()
    layers = find_layers(model)
    assert layers == [model.layers[2], model.layers[5]]
    set_step(layers, seed=4, step=7)
    assert [int(layer.key) for layer in layers] == [mask_key(4, 7, 0), mask_key(4, 7, 1)]
    assert not any("key" in name for name in model.state_dict())


@pytest.mark.parametrize("is_batched", [True, False], ids=["own inputs", "shared inputs"])
def test_stacked_members_equal_eager_calls_bit_for_bit(is_batched: bool) -> None:
    module = Dropout(0.3)
    keys = torch.tensor([mask_key(seed, 5, 0) for seed in range(4)], dtype=torch.int32)
    inputs = torch.randn(4, 16, 8) if is_batched else torch.randn(16, 8)
    call = lambda key, x: functional_call(module, {"key": key}, x)  # noqa: E731
    stacked = vmap(call, in_dims=(0, 0 if is_batched else None))(keys, inputs)
    for member, key in enumerate(keys):
        alone = Dropout(0.3)
        alone.key.copy_(key)
        assert torch.equal(stacked[member], alone(inputs[member] if is_batched else inputs))


def loss_of(model: nn.Module, inputs: Tensor) -> Callable[[dict[str, Tensor], dict[str, Tensor]], Tensor]:
    return lambda weights, keys: functional_call(model, (weights, keys), inputs).square().sum()


def test_a_population_trains_like_its_members() -> None:
    members = [make_model() for _ in range(3)]
    inputs = torch.randn(32, 6)
    for seed, member in enumerate(members):
        set_step(find_layers(member), seed, step=9)
    weights, keys = stack_module_state(members)
    # A fresh model: its first call, where the index is made, is inside two transforms.
    shell = make_model()
    gradients = vmap(grad(loss_of(shell, inputs)))(weights, keys)
    for number, member in enumerate(members):
        member(inputs).square().sum().backward()
        for name, parameter in member.named_parameters():
            torch.testing.assert_close(gradients[name][number], parameter.grad)
    # Nothing of the transforms stays behind in the model.
    assert torch.equal(copy.deepcopy(shell)(inputs), shell(inputs))
