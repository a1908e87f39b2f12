"""What is recomputed changes no bit of a run, dropout and running statistics included, and is let go."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from bench import recompute
from bench.errors import Unsupported
from bench.model.blocks import Blocks
from bench.model.dropout import find_layers, set_step
from bench.recompute import cut, find_stacks
from bench.result import Result
from bench.spec import Recompute
from bench.train import train
from tests.composing import compose_run
from tests.models import SMALL, kinds_of, make_inputs, make_small
from tests.records import MACHINE

BLOCK, SEGMENTS = Recompute(name="block"), Recompute(name="segments", segments=2)
OPTIONS = sorted(set(SMALL) - {"point"})


def take_steps(model: nn.Module, option: str, num_parts: int = 1) -> list[Tensor]:
    """Return losses, weights and buffers of a few steps of training, and what the model gives afterwards."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    dropouts, kept = find_layers(model), []
    for step in range(3):
        optimizer.zero_grad()
        for part in range(num_parts):
            set_step(dropouts, seed=0, step=step * num_parts + part)
            inputs = make_inputs(kinds_of(option)[0], batch=6, seed=step * num_parts + part)
            loss = model(*inputs).square().mean()
            loss.backward()
            kept.append(loss.detach())
        optimizer.step()
    kept += [*model.parameters(), *model.buffers()]
    model.eval()
    return [*kept, model(*make_inputs(kinds_of(option)[0], batch=6))]


def count_calls(model: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[int, int]:
    """Return how often the first layer of the first block ran in forward, and until backward was through."""
    calls = 0

    def count(*_: Any) -> None:
        nonlocal calls
        calls += 1

    first = next(find_stacks(model))[0][0]
    with first.register_forward_pre_hook(count):
        loss = model(*inputs).sum()
        before = calls
        loss.backward()
    return before, calls


@pytest.mark.parametrize("chosen", [BLOCK, SEGMENTS], ids=lambda chosen: chosen.name)
@pytest.mark.parametrize("option", OPTIONS)
def test_no_bit_changes(option: str, chosen: Recompute) -> None:
    changes: dict[str, Any] = {"dropout": 0.3}
    if option == "resnet":
        changes["norm"] = "batch"
    plain = make_small(option, **changes)
    other = copy.deepcopy(plain)
    recompute.apply(other, chosen, option)
    inputs = make_inputs(kinds_of(option)[0], batch=6)
    assert count_calls(copy.deepcopy(plain), inputs) == (1, 1)
    assert count_calls(copy.deepcopy(other), inputs) == (1, 2)
    for one, two in zip(take_steps(plain, option, 2), take_steps(other, option, 2), strict=True):
        assert torch.equal(one, two)
    names = [name for name, _ in plain.named_parameters()]
    assert names == [name for name, _ in other.named_parameters()]


def test_batch_norm_counts_each_batch_once() -> None:
    model = make_small("resnet", norm="batch")
    recompute.apply(model, BLOCK, "resnet")
    take_steps(model, "resnet")
    counters = [buffer for name, buffer in model.named_buffers() if name.endswith("num_batches_tracked")]
    assert len(counters) > 10 and all(counter == 3 for counter in counters)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert {norm.momentum for norm in norms} == {0.1}


def test_a_copy_recomputes_itself_and_not_what_it_was_copied_from() -> None:
    model = make_small("mlp")
    recompute.apply(model, BLOCK, "mlp")
    other = copy.deepcopy(model)
    with torch.no_grad():
        for weight in other.parameters():
            weight.zero_()
    (inputs,) = make_inputs("features")
    assert not other(inputs).any() and model(inputs).any()


def test_nothing_is_recomputed_in_evaluation() -> None:
    model = make_small("gpt")
    recompute.apply(model, BLOCK, "gpt")
    inputs = make_inputs("tokens")
    assert count_calls(model.eval(), inputs) == (1, 1)


def saved_bytes(model: nn.Module, inputs: tuple[Tensor, ...]) -> int:
    """Return the bytes that forward keeps for backward, without the model's own."""
    own = {tensor.untyped_storage().data_ptr() for tensor in [*model.parameters(), *model.buffers()]}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    # What a checkpoint keeps it holds itself, and shows to no hook.
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        outputs = model(*inputs)
    assert outputs.requires_grad
    return sum(kept.values())


def test_what_is_recomputed_is_not_kept() -> None:
    plain, inputs = make_small("gpt", depth=4), make_inputs("tokens", batch=8)
    other = copy.deepcopy(plain)
    recompute.apply(other, BLOCK, "gpt")
    assert saved_bytes(other, inputs) < 0.5 * saved_bytes(plain, inputs)


@pytest.mark.parametrize("option", OPTIONS)
def test_fake_tensors_go_through(option: str) -> None:
    with FakeTensorMode(allow_non_fake_inputs=True):
        model = make_small(option, dropout=0.3, **({"norm": "batch"} if option == "resnet" else {}))
        recompute.apply(model, SEGMENTS, option)
        inputs = make_inputs(kinds_of(option)[0])
        model(*(torch.empty_like(part) for part in inputs)).square().mean().backward()
        assert all(weight.grad is not None for weight in model.parameters())


def test_blocks_are_cut_into_parts_of_nearly_equal_length() -> None:
    assert cut((1,) * 6, 6) == [0, 1, 2, 3, 4, 5, 6]
    assert cut((1,) * 6, 1) == [0, 6]
    assert cut((1,) * 6, 4) == [0, 1, 3, 4, 6]
    # Blocks of 2 and 3 layers: a border lies between blocks.
    assert cut((2, 3, 2, 3), 2) == [0, 5, 10]


def borders(model: nn.Module, chosen: Recompute) -> list[list[int]]:
    recompute.apply(model, chosen, "model")
    return [vars(sequence)["forward"]._borders for sequence, _ in find_stacks(model)]


def test_auto_is_the_square_root_of_the_depth() -> None:
    auto = Recompute(name="segments")
    assert [len(ends) - 1 for ends in borders(make_small("mlp", depth=9), auto)] == [3]
    # More segments than blocks are as many as there are blocks.
    many = Recompute(name="segments", segments=50)
    assert [len(ends) - 1 for ends in borders(make_small("mlp", depth=3), many)] == [3]
    # Both halves of an autoencoder have their share.
    four = Recompute(name="segments", segments=4)
    assert [len(ends) - 1 for ends in borders(make_small("autoencoder", depth=4), four)] == [2, 2]


class Mine(nn.Module):
    """A module of one's own: an nn.Sequential called `blocks` is all it takes, with torch's own dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 8)
        self.blocks = nn.Sequential(
            *(nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Dropout(0.5)) for _ in range(3))
        )
        self.head = nn.Linear(8, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.head(self.blocks(self.first(inputs)))
        return outputs


class Holder(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, inputs: Tensor) -> Any:
        return self.inner(inputs)


def test_a_model_of_ones_own_takes_part_with_its_dropout() -> None:
    plain = Holder(Mine())
    other = copy.deepcopy(plain)
    recompute.apply(other, BLOCK, "mine")
    results = []
    for model in (plain, other):
        torch.manual_seed(0)
        model(torch.ones(5, 4)).sum().backward()
        results.append([*(weight.grad for weight in model.parameters()), torch.get_rng_state()])
    assert all(torch.equal(one, two) for one, two in zip(*results, strict=True))
    assert count_calls(other, (torch.ones(5, 4),)) == (1, 2)


def test_a_model_without_blocks_is_one_line() -> None:
    for name, model in {"point": make_small("point"), "mlp": make_small("mlp", depth=0)}.items():
        with pytest.raises(Unsupported, match=f"^recompute: {name} has no blocks, an nn.Sequential that"):
            recompute.apply(model, BLOCK, name)
        recompute.apply(model, Recompute(), name)


def test_blocks_inside_blocks_belong_to_the_outer_ones() -> None:
    outer = Blocks([[Mine()], [Mine()]])
    assert list(find_stacks(outer)) == [(outer, (1, 1))]


def run_to_end(*overrides: str) -> Result:
    run = compose_run(
        "optimizer=adam", "budget.steps=12", "budget.evaluations=3", *overrides, workload="digits_mlp"
    )
    return train(run, MACHINE)[0]


@pytest.mark.parametrize(
    "overrides",
    [
        ("model.dropout=0.3", "budget.accumulate=3", "ema=0.9"),
        ("model.dropout=0.3", "precision=bf16", "clip_norm=1.0"),
        ("model=resnet", "model.width=4", "model.dropout=0.2", "model.norm=batch", "budget.steps=4"),
    ],
    ids=" ".join,
)
def test_a_whole_run_is_the_same(overrides: tuple[str, ...]) -> None:
    plain = run_to_end(*overrides)
    assert plain.status == "finished", plain.detail
    for chosen in ("recompute=block", "recompute=segments"):
        other = run_to_end(*overrides, chosen)
        assert msgspec.structs.replace(other.curve, elapsed_s=()) == msgspec.structs.replace(
            plain.curve, elapsed_s=()
        )
        assert (other.val_loss, other.search_loss) == (plain.val_loss, plain.search_loss)
        assert other.id != plain.id


def test_a_run_of_a_model_without_blocks_is_unsupported() -> None:
    run = compose_run("recompute=block", "budget=smoke", workload="rosenbrock")
    result = train(run, MACHINE)[0]
    assert result.status == "unsupported"
    assert result.detail == "recompute: point has no blocks, an nn.Sequential that it holds as `blocks`"
