"""Predicted memory is what the allocator gives, to the byte where no kernel takes scratch of its own."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest
import torch
from torch import Tensor, nn

from bench.cost import Memory
from bench.data.dataset import DataSet
from bench.errors import Unsupported
from bench.meter.measured import measure_cell
from bench.meter.memory import CUDA_GRANULE
from bench.meter.predict import HOPPER_WORKSPACE, NUM_HANDLES, OLDER_WORKSPACE, Rehearsal, predict
from bench.meter.synthetic import describe, make_up
from bench.model import dropout
from bench.spec import Model, Run
from tests.composing import compose_run
from tests.contract.members import list_members
from tests.tiers import few

DATA = {
    "mlp": None,
    "cnn": describe("image", (3, 16, 16), 10),
    "gpt": describe("tokens", (16,), 65),
    "lstm": describe("tokens", (6,), 65),
}
# oneDNN's convolutions take some; the others none.
TOLERANCE = {"mlp": 1e-4, "cnn": 0.02, "gpt": 1e-4, "lstm": 1e-4}


@pytest.fixture(autouse=True)
def _restored_threads() -> Iterator[None]:
    num_threads = torch.get_num_threads()
    yield
    torch.set_num_threads(num_threads)


def make_run(model: str, *overrides: str) -> Run:
    run = compose_run(f"model={model}", *overrides)
    data = DATA.get(model)
    return run if data is None else msgspec.structs.replace(run, data=data)


def compare(run: Run) -> tuple[Memory, float]:
    memory = predict(run)
    return memory, memory.peak_bytes / measure_cell(run)[0]


@pytest.mark.parametrize(
    ("model", "recompute", "optimizer", "impl"),
    few(
        [
            ("cnn", "none", "adamw", "foreach"),
            ("gpt", "block", "adamw", "foreach"),
            ("mlp", "block", "adam", "forloop"),
            ("mlp", "none", "sgd", "fused"),
            ("cnn", "block", "momentum", "fused"),
            ("gpt", "none", "adam", "forloop"),
            ("lstm", "none", "momentum", "foreach"),
            ("lstm", "block", "adam", "fused"),
        ],
        3,
    ),
)
def test_the_peak_is_the_measured_one(model: str, recompute: str, optimizer: str, impl: str) -> None:
    for batch_size in (2, 64):
        settings = (f"optimizer={optimizer}", f"optimizer.impl={impl}", f"recompute={recompute}")
        _, ratio = compare(make_run(model, *settings, f"budget.batch_size={batch_size}"))
        assert ratio == pytest.approx(1, abs=TOLERANCE[model]), batch_size


@pytest.mark.parametrize(
    ("optimizer", "share"), [("sgd", 0), ("momentum", 4), ("adam", 8), ("adamw", 8), ("lion", 4)]
)
def test_state_is_exactly_so_many_bytes_a_parameter(optimizer: str, share: int) -> None:
    memory = predict(make_run("gpt", f"optimizer={optimizer}"))
    num_params = memory.params_bytes // 4
    assert (memory.state_bytes, memory.grads_bytes) == (share * num_params, 4 * num_params)


@pytest.mark.parametrize("optimizer", few(sorted(set(list_members("optimizer")) - {"custom", "muon"}), 4))
def test_every_optimizer_is_predicted(optimizer: str) -> None:
    try:
        _, ratio = compare(make_run("mlp", f"optimizer={optimizer}", "budget.batch_size=8"))
    except Unsupported as error:
        pytest.skip(str(error))
    assert ratio == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    "overrides",
    few(
        [
            ["model.dropout=0.1", "recompute=segments", "model.depth=4"],
            ["ema=0.9", "clip_norm=1.0"],
            ["precision=bf16"],
            ["precision=fp16"],
            ["budget.accumulate=4"],
        ],
        2,
    ),
)
def test_other_axes_are_predicted(overrides: list[str]) -> None:
    # So many rows that what emulated 16-bit products take for themselves is not at the peak.
    _, ratio = compare(make_run("gpt", "budget.batch_size=256", *overrides))
    assert ratio == pytest.approx(1, abs=1e-4)


def test_its_parts_are_what_a_hand_count_gives() -> None:
    run = make_run("mlp", "model.depth=1", "model.width=256", "optimizer=momentum", "budget.batch_size=1024")
    run = msgspec.structs.replace(run, data=describe("features", (64,), 10))
    memory = predict(run)
    num_params = 64 * 256 + 256 + 256 * 10 + 10
    assert (memory.params_bytes, memory.state_bytes, memory.buffers_bytes) == (
        4 * num_params,
        4 * num_params,
        0,
    )
    assert memory.batch_bytes == 1024 * (64 * 4 + 8)
    # ReLU's result, the logits twice (in the frame of the step, and their log-softmax), the loss and its sum.
    assert memory.saved_bytes == pytest.approx(1024 * (256 + 2 * 10) * 4, abs=64)
    assert set(memory.phases) == {"data", "forward", "backward", "optimizer"}
    assert memory.phases[memory.phase] == memory.peak_bytes == max(memory.phases.values())
    # Weights, gradients, state, and two batches while the next one is gathered and its row numbers are there.
    data_bytes = 12 * num_params + 2 * memory.batch_bytes
    assert memory.phases["data"] == pytest.approx(data_bytes, abs=64)


@pytest.mark.thorough
def test_recomputing_saves_less_and_frees_the_peak() -> None:
    none, block, segments = (
        predict(make_run("gpt", "model.depth=9", f"recompute={name}", "budget.batch_size=64"))
        for name in ("none", "block", "segments")
    )
    assert none.saved_bytes > block.saved_bytes > segments.saved_bytes
    assert none.peak_bytes > 2 * max(block.peak_bytes, segments.peak_bytes)


def test_a_gpu_needs_not_be_here() -> None:
    run = msgspec.structs.replace(make_run("gpt", "precision=fp16"), device="cuda")
    memory, plain = predict(run), predict(make_run("gpt", "precision=bf16"))
    assert memory.workspace_bytes in (NUM_HANDLES * HOPPER_WORKSPACE, NUM_HANDLES * OLDER_WORKSPACE)
    rounded = memory.peak_bytes - memory.workspace_bytes
    assert rounded % CUDA_GRANULE == 0 and plain.peak_bytes < rounded < 1.05 * plain.peak_bytes
    assert memory.saved_bytes % CUDA_GRANULE == 0
    assert (plain.workspace_bytes, memory.is_lower_bound) == (0, False)
    lstm = msgspec.structs.replace(make_run("lstm", "precision=tf32"), device="cuda")
    assert predict(lstm).is_lower_bound and not predict(make_run("lstm")).is_lower_bound


@pytest.mark.thorough
def test_one_rehearsal_serves_all_batch_sizes() -> None:
    run = make_run("gpt", "budget.batch_size=4", "model.dropout=0.1")
    rehearsal = Rehearsal(run, make_up(kind="tokens", shape=(16,), num_outputs=65))
    for batch_size in (4, 32, 1, 4):
        budget = msgspec.structs.replace(run.budget, batch_size=batch_size)
        assert rehearsal.predict(batch_size) == predict(msgspec.structs.replace(run, budget=budget))


def test_a_model_of_any_size_takes_no_memory() -> None:
    # 6.4 TB of weights.
    run = make_run("gpt", "model.depth=2", "model.width=131072", "model.heads=8", "optimizer=sgd")
    memory = predict(run)
    assert memory.params_bytes > 1.6e12 and memory.peak_bytes > 2 * memory.params_bytes


def test_nothing_fake_is_left_behind() -> None:
    run = make_run("gpt", "model.dropout=0.1", "recompute=block")
    read, is_enabled = torch.get_rng_state, torch.backends.mkldnn.enabled
    held = Rehearsal(run, make_up(kind="tokens", shape=(16,), num_outputs=65))
    held.predict()
    layer = dropout.Dropout(0.1).train()
    assert type(layer(torch.ones(run.budget.batch_size, 16, 64))) is Tensor
    assert (torch.get_rng_state, torch.backends.mkldnn.enabled) == (read, is_enabled)
    measure_cell(run)


class Half(nn.Module):
    """A model of which one part is never used."""

    def __init__(self, input_shape: tuple[int, ...], num_outputs: int) -> None:
        super().__init__()
        self.used = nn.Linear(input_shape[0], num_outputs)
        self.idle = nn.Linear(1000, 1000)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.used(inputs)
        return outputs


class Picky(Half):
    """A model whose sizes depend on what its inputs hold."""

    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(inputs[inputs[:, 0] > 0]).sum() + super().forward(inputs)


def test_unused_parameters_have_no_state() -> None:
    run = make_run("mlp", "optimizer=adam")
    run = msgspec.structs.replace(run, model=Model(target=f"{__name__}.Half", name="half"))
    data = make_up(kind="features", shape=(128,), num_outputs=3)
    used = 4 * (128 * 3 + 3)
    memory = Rehearsal(_bound(run, Half), data).predict()
    assert memory.state_bytes == 2 * used


def test_sizes_that_depend_on_values_are_one_line() -> None:
    data: DataSet = make_up(kind="features", shape=(128,), num_outputs=3)
    with pytest.raises(Unsupported, match=r"predict: the sizes that .* depend on values"):
        Rehearsal(_bound(make_run("mlp"), Picky), data).predict()


def test_what_can_not_be_predicted_says_why() -> None:
    with pytest.raises(Unsupported, match="tf32: wants a CUDA device"):
        predict(make_run("mlp", "precision=tf32"))
    with pytest.raises(Unsupported, match="compile=none is predicted"):
        predict(make_run("mlp", "compile=model"))
    lbfgs = ("optimizer=custom", "optimizer._target_=torch.optim.LBFGS", "optimizer.name=lbfgs")
    with pytest.raises(Unsupported, match="LBFGS calls its closure"):
        predict(make_run("mlp", *lbfgs))


def _bound(run: Run, cls: type[nn.Module]) -> Run:
    """Return a run on a class of this file, under a name that can be imported."""
    from tests import models

    setattr(models, cls.__name__, cls)
    return msgspec.structs.replace(run, model=Model(target=f"tests.models.{cls.__name__}", name="own"))


@pytest.mark.gpu
@pytest.mark.parametrize("model", ["mlp", "gpt"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_gpu_needs_what_was_predicted(model: str, precision: str) -> None:
    run = make_run(model, f"precision={precision}", "budget.batch_size=2048", "model.width=256")
    run = msgspec.structs.replace(run, device="cuda")
    memory, (measured_bytes, source) = predict(run), measure_cell(run)
    assert source == "cuda_allocator"
    # cuBLAS may make one workspace less than is expected.
    slack = memory.workspace_bytes // NUM_HANDLES
    assert memory.peak_bytes == pytest.approx(measured_bytes, rel=0.02, abs=slack)
