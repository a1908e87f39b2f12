"""Operations are counted as a hand count gives them, for every model of the zoo, and nothing is computed."""

from __future__ import annotations

import msgspec
import pytest
import torch
from torch import Tensor, nn

from bench import build, recompute
from bench.meter.arithmetic import count_arithmetic, count_flops
from bench.spec import Recompute, Run
from tests.composing import compose_run
from tests.records import MACHINE, make_run


class Sequences:
    """Rows of 5 times 8 numbers; the loss is their squared distance."""

    def train_batch(self, seed: int, step: int, batch_size: int) -> tuple[Tensor, Tensor]:
        return torch.randn(batch_size, 5, 8), torch.randn(batch_size, 5, 8)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return ((outputs - targets) ** 2).sum()


class Recurrent(nn.Module):
    def __init__(self, layer: type[nn.RNNBase]) -> None:
        super().__init__()
        self.layer = layer(8, 8, batch_first=True)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.layer(inputs)[0]


class Hidden(nn.Module):
    """A layer whose work is done where no counter looks."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.eye(8))

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.ops.bench_test.times(inputs, self.weight)


def parts(run: Run) -> tuple[nn.Module, object]:
    data = build.load_data(run.data, "cpu")
    return build.build_model(run, data), data


def test_a_perceptron_is_counted_by_hand() -> None:
    run = make_run()
    model, data = parts(run)
    # Batch 16, 4 inputs, 8 hidden, 1 output: forward, gradients of weights, and of the hidden layer.
    by_hand = 2 * 16 * (4 * 8 + 8 * 1) * 2 + 2 * 16 * 8 * 1
    assert count_flops(model, data, 16) == (by_hand, False)
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(("layer", "gates"), [(nn.LSTM, 4), (nn.GRU, 3), (nn.RNN, 1)])
def test_recurrent_layers_are_counted_whole(layer: type[nn.RNNBase], gates: int) -> None:
    of_inputs = of_states = 2 * 4 * 5 * gates * 8 * 8
    # The inputs want no gradient, and neither does the first state.
    by_hand = 3 * of_inputs - of_inputs + 3 * of_states - of_states // 5
    assert count_flops(Recurrent(layer), Sequences(), 4) == (by_hand, False)


@pytest.mark.parametrize(
    ("workload", "low", "high"),
    [
        # Over 6 x parameters x items: a language model uses all at each token, attention comes on top.
        ("kjv_gpt", 0.9, 1.2),
        ("kjv_lstm", 0.9, 1.0),
        ("digits_mlp", 0.6, 1.0),
        ("digits_denoiser", 0.8, 1.0),
        # A kernel is used at each pixel, a patch's weights at each patch.
        ("digits_cnn", 1.5, 10.0),
        ("rosenbrock", 0.0, 0.0),
        ("quadratic", 0.0, 0.0),
    ],
)
def test_every_model_has_a_plausible_count(workload: str, low: float, high: float) -> None:
    run = compose_run(workload=workload)
    model, data = parts(run)
    flops, is_lower_bound = count_flops(model, data, run.budget.batch_size)
    num_params = sum(parameter.numel() for parameter in model.parameters())
    naive = 6 * num_params * run.budget.batch_size * data.items_per_row
    assert low <= flops / naive <= high and not is_lower_bound
    # The kernels that were switched off for the count are back.
    assert torch.backends.mkldnn.enabled


def test_recomputing_is_in_the_hardwares_count_alone() -> None:
    run = compose_run(workload="kjv_gpt")
    plain, data = parts(run)
    model, _ = parts(run)
    run = msgspec.structs.replace(run, recompute=Recompute(name="block"))
    recompute.apply(model, run.recompute, "gpt")
    found = count_arithmetic(run, model, plain, data, "a CPU of no datasheet")
    # Forward is a third, and the head is not recomputed.
    assert 1.2 < found.hardware_flops / found.model_flops < 4 / 3
    assert found.peak_source == "measured" and found.peak_flops_per_s is not None
    again = count_arithmetic(run, plain, plain, data, MACHINE.device_name)
    assert again.hardware_flops == again.model_flops == found.model_flops


def test_what_can_not_be_seen_makes_a_lower_bound() -> None:
    with torch.library._scoped_library("bench_test", "FRAGMENT") as library:
        library.define("times(Tensor a, Tensor b) -> Tensor")
        library.impl("times", lambda a, b: a @ b, "CompositeExplicitAutograd")
        library.impl("times", lambda a, b: a.new_empty(a.shape), "Meta")
        torch.library.register_autograd(
            "bench_test::times", lambda context, gradient: (None, torch.ones(8, 8)), lib=library
        )
        assert count_flops(Hidden(), Sequences(), 4)[1]
