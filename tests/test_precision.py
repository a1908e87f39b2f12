"""A format is what was asked for, from the first product to the optimizer's state, or the run can't be."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from torch import Tensor, nn

from bench import precision, recompute, train
from bench.cost import Formats
from bench.data.gaussian import Gaussian
from bench.engine.eager import Eager
from bench.engine.validate import validate
from bench.errors import Unsupported
from bench.forward import forward
from bench.model.dropout import Dropout, set_step
from bench.prepare import prepare
from bench.result import Result
from bench.seeds import seed_for
from bench.spec import Model, Precision, Recompute, Run, Schedule
from tests.commands import run_bench
from tests.models import make_inputs
from tests.models import make_small as make_small_model
from tests.records import MACHINE, make_optimizer, make_run

replace = msgspec.structs.replace
FP32, TF32, BF16, FP16, PURE = (
    Precision(name=name) for name in ("fp32", "tf32", "bf16", "fp16", "bf16_pure")
)
DTYPES = {FP32: torch.float32, BF16: torch.bfloat16, FP16: torch.float16, PURE: torch.bfloat16}
ON_CPU = tuple(DTYPES)
FLAT = Schedule(name="constant", warmup=0.0, floor=1.0, interval="step")


@pytest.fixture(autouse=True)
def _plain_again() -> Iterator[None]:
    yield
    precision.apply(FP32, "cpu")


def name_of(value: Any) -> str:
    return value.name if isinstance(value, Precision) else str(value)


def run_to_end(run: Run) -> Result:
    return train.train(run, MACHINE)[0]


def make_small(chosen: Precision, **changes: Any) -> Run:
    adam = make_optimizer("torch.optim.Adam", lr=0.01, impl="fused")
    return make_run(precision=chosen, **({"optimizer": adam} | changes))


class Spied(Gaussian):
    """Keeps the format of the outputs that its loss is computed from."""

    seen: list[torch.dtype]

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        self.seen.append(outputs.dtype)
        # No cast here, as in a data set of one's own that forgets it.
        return (outputs - targets).square().sum()


def make_engine(run: Run, data: Gaussian | None = None) -> tuple[Eager, nn.Module, torch.optim.Optimizer]:
    model, optimizer, own = prepare(run)
    return Eager(run, model, optimizer, data or own), model, optimizer


def tensors_of(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [value for held in optimizer.state.values() for value in held.values()]


@pytest.mark.parametrize("chosen", [BF16, FP16], ids=name_of)
def test_loss_and_updates_are_fp32_under_autocast(chosen: Precision) -> None:
    data = Spied(num_features=4, num_train=64, num_val=16, noise=0.1, seed=0)
    data.seen = []
    engine, model, optimizer = make_engine(make_small(chosen), data)
    outputs: list[torch.dtype] = []
    model.register_forward_hook(lambda _module, _inputs, given: outputs.append(given.dtype))
    losses = [engine.step(step) for step in range(3)]
    assert set(outputs) == {DTYPES[chosen]}
    assert set(data.seen) == {torch.float32} == {loss.dtype for loss in losses}
    updated = [*model.parameters(), *(weight.grad for weight in model.parameters()), *tensors_of(optimizer)]
    assert {tensor.dtype for tensor in updated if tensor is not None} == {torch.float32}


EXPECTED = {
    FP32: Formats(
        loss=("float32",), gradients=("float32",), weights=("float32",), state=("float32",),
        outputs=("float32",), autocast=None, is_tf32=None,
    ),
    BF16: Formats(
        loss=("float32",), gradients=("float32",), weights=("float32",), state=("float32",),
        outputs=("bfloat16",), autocast="bfloat16", is_tf32=None,
    ),
    FP16: Formats(
        loss=("float32",), gradients=("float32",), weights=("float32",), state=("float32",),
        outputs=("float16",), autocast="float16", is_tf32=None,
    ),
    PURE: Formats(
        loss=("float32",), gradients=("bfloat16",), weights=("bfloat16",), state=("bfloat16",),
        outputs=("bfloat16",), autocast=None, is_tf32=None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("chosen", ON_CPU, ids=name_of)
def test_what_a_run_computed_in_is_read_back_and_kept(chosen: Precision) -> None:
    result = run_to_end(make_small(chosen, ema=0.9, clip_norm=1.0))
    assert result.status == "finished", result.detail
    assert result.formats == EXPECTED[chosen]
    assert msgspec.json.decode(msgspec.json.encode(result), type=Result) == result
    assert result.val_loss is not None and result.val_loss < (result.curve.val_loss[0] or 0)


def test_formats_are_a_reading_and_no_repetition_of_what_was_asked() -> None:
    engine, model, _ = make_engine(make_small(BF16))
    assert engine.read_formats() is None
    engine.step(0)
    model.double()
    with torch.autocast("cpu", torch.float16):
        # Whatever surrounds it, the run's own context decides.
        formats = engine.read_formats()
    assert formats is not None and formats.weights == ("float64",) and formats.autocast == "bfloat16"


@pytest.mark.parametrize("chosen", [BF16, FP16, PURE], ids=name_of)
def test_a_format_stays_near_fp32_and_is_not_it(chosen: Precision) -> None:
    plain, other = run_to_end(make_small(FP32)), run_to_end(make_small(chosen))
    pairs = list(zip(plain.curve.train_loss[1:], other.curve.train_loss[1:], strict=True))
    assert all(one is not None and two == pytest.approx(one, rel=0.1) for one, two in pairs)
    assert all(one != two for one, two in pairs)
    assert plain.id != other.id


@pytest.mark.parametrize("chosen", ON_CPU, ids=name_of)
def test_validation_runs_in_the_format_of_training(chosen: Precision) -> None:
    run = make_small(chosen)
    model, _, data = prepare(run)
    call = precision.make_call(chosen, "cpu")
    seen: list[torch.dtype] = []
    model.eval().register_forward_hook(lambda _module, _inputs, outputs: seen.append(outputs.dtype))
    loss, _ = validate(model, data, "report", call)
    assert set(seen) == {DTYPES[chosen]}
    assert run_to_end(run).curve.val_loss[0] == loss
    assert not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize("chosen", ON_CPU, ids=name_of)
def test_a_dropout_mask_is_the_same_in_every_format(chosen: Precision) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.dropout = nn.Linear(8, 512), Dropout(0.3)
            nn.init.constant_(self.first.weight, 0.1)

        def forward(self, inputs: Tensor) -> Tensor:
            outputs: Tensor = self.dropout(self.first(inputs))
            return outputs

    kept = []
    for one in (FP32, chosen):
        model = precision.cast(Net(), one)
        set_step([model.dropout], seed=3, step=7)  # type: ignore[list-item]
        outputs = precision.make_call(one, "cpu")(model, torch.ones(4, 8))
        assert outputs.dtype == DTYPES[one]
        kept.append(outputs != 0)
    assert torch.equal(*kept) and 0.6 < kept[0].float().mean() < 0.8


def test_dropout_in_16_bits_is_off_by_no_common_factor() -> None:
    layer = Dropout(0.1)
    inputs = 1 + torch.rand(2**16, generator=torch.Generator().manual_seed(0)).bfloat16()
    outputs = layer(inputs)
    ratio = (outputs.double() / inputs.double())[outputs != 0].mean()
    # 1 / 0.9 rounded to bfloat16 itself would be 0.16 % too small.
    assert ratio == pytest.approx(1 / 0.9, rel=2e-4)


def test_whole_numbers_stay_whole_numbers_in_pure_bf16() -> None:
    class Taker(nn.Module):
        def forward(self, **named: Tensor) -> dict[str, torch.dtype]:
            return {name: tensor.dtype for name, tensor in named.items()}

    call = precision.make_call(PURE, "cpu")
    got = call(Taker(), {"ids": torch.arange(3), "mask": torch.ones(3, dtype=torch.bool), "x": torch.ones(3)})
    assert got == {"ids": torch.int64, "mask": torch.bool, "x": torch.bfloat16}
    norm = precision.cast(nn.BatchNorm1d(3), PURE)
    assert norm.running_mean is not None and norm.running_mean.dtype == torch.bfloat16  # type: ignore[union-attr]
    assert norm.num_batches_tracked.dtype == torch.int64  # type: ignore[union-attr]


# Loss scaling


@pytest.mark.parametrize("clip_norm", [None, 0.01])
@pytest.mark.parametrize("impl", ["fused", "forloop"])
def test_fp16_equals_a_hand_written_loop(impl: str, clip_norm: float | None) -> None:
    optimizer = make_optimizer("torch.optim.Adam", lr=0.01, impl=impl)
    run = make_small(FP16, optimizer=optimizer, clip_norm=clip_norm, schedule=FLAT)
    engine, trained, _ = make_engine(run)
    model, _, data = prepare(run)
    twin = torch.optim.Adam(model.parameters(), lr=0.01, fused=impl == "fused", foreach=False)
    scaler = torch.amp.GradScaler("cpu")
    for step in range(10):
        inputs, targets = data.train_batch(seed_for(run.seed, run.vary, "order"), step, 16)
        twin.zero_grad()
        with torch.autocast("cpu", torch.float16):
            outputs = model(inputs)
        loss = nn.functional.mse_loss(outputs.float(), targets, reduction="sum") / 16
        scaler.scale(loss).backward()
        if clip_norm is not None:
            scaler.unscale_(twin)
            nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
        scaler.step(twin)
        scaler.update()
        assert torch.equal(engine.step(step), loss)
    for one, two in zip(model.parameters(), trained.parameters(), strict=True):
        assert torch.equal(one, two)
    # Each step that was left out has halved the scale, which no ten steps raise again.
    assert scaler.get_scale() == 2.0 ** (16 - engine.count_skipped())


class Steep(nn.Linear):
    """A linear map times a factor, which its gradients are multiplied by as well."""

    def __init__(self, in_features: int, out_features: int, factor: float) -> None:
        super().__init__(in_features, out_features)
        self.factor = factor

    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(inputs) * self.factor


def make_steep(factor: float) -> Model:
    args = {"in_features": 4, "out_features": 1, "factor": factor}
    return replace(make_run().model, target="tests.test_precision.Steep", args=args)


@pytest.mark.parametrize("impl", ["fused", "forloop"])
def test_a_step_that_overflows_is_left_out_counted_and_keeps_its_place(impl: str) -> None:
    optimizer = make_optimizer("torch.optim.SGD", lr=1e-5, impl=impl)
    budget = replace(make_run().budget, steps=12)
    schedule = Schedule(name="linear", warmup=0.5, floor=0.1, interval="step")
    # Overflows at the first scales, and no more a few halvings later.
    run = make_small(FP16, model=make_steep(5.0), optimizer=optimizer, budget=budget, schedule=schedule)
    engine, model, own = make_engine(run)
    plain, _, plain_own = make_engine(replace(run, precision=FP32))
    moved = []
    for step in range(12):
        before = copy.deepcopy(model.state_dict())
        assert math.isfinite(engine.step(step).item())
        plain.step(step)
        moved.append(any(not torch.equal(before[name], value) for name, value in model.state_dict().items()))
        # The schedule does not wait for a step that was left out.
        assert own.param_groups[0]["lr"] == plain_own.param_groups[0]["lr"]
    num_skipped = engine.count_skipped()
    assert 0 < num_skipped < 12 and moved == [False] * num_skipped + [True] * (12 - num_skipped)
    result = run_to_end(run)
    assert result.status == "finished" and result.num_skipped_steps == num_skipped
    assert run_to_end(replace(run, precision=BF16)).num_skipped_steps == 0


def test_an_overflowing_loss_is_divergence_and_no_skipped_step() -> None:
    result = run_to_end(make_small(FP16, model=make_steep(1e6)))
    assert result.status == "diverged" and result.diverged_step == 0
    assert run_to_end(make_small(BF16, model=make_steep(1e6))).diverged_step != 0


@pytest.mark.parametrize("impl", ["fused", "foreach", "forloop"])
@pytest.mark.parametrize("kind", ["SGD", "Adam", "AdamW", "Adagrad"])
def test_weights_in_bf16_are_updated_or_the_run_is_refused(kind: str, impl: str) -> None:
    wide = replace(make_run().model, args=make_run().model.args | {"width": 256})
    optimizer = make_optimizer(f"torch.optim.{kind}", lr=0.01, impl=impl)
    run = make_small(PURE, model=wide, optimizer=optimizer, schedule=FLAT)
    try:
        engine, model, _ = make_engine(run)
    except Unsupported as error:
        # torch 2.13 and before; from where it is mended, the other branch is taken.
        assert kind == "SGD" and impl == "fused"
        assert str(error).startswith("optimizer.impl: this torch's fused update leaves bfloat16 weights")
        return
    before = copy.deepcopy(list(model.parameters()))
    for step in range(3):
        engine.step(step)
    # Nearly every one: some weights have no gradient, or too small a one.
    for one, two in zip(before, model.parameters(), strict=True):
        assert (one != two).float().mean() > 0.3


def test_who_asks_for_the_loss_itself_gets_no_fp16() -> None:
    run = make_small(FP16, optimizer=make_optimizer("torch.optim.LBFGS", lr=0.1))
    result = run_to_end(run)
    assert (result.status, result.detail) == (
        "unsupported", "precision=fp16: LBFGS asks for the loss itself in its step",
    )  # fmt: skip
    assert run_to_end(replace(run, precision=BF16)).status == "finished"


# What can't be


@pytest.mark.parametrize(
    ("chosen", "device", "capability", "line"),
    [
        (FP16, "cuda", None, "device=cuda: torch finds no such device here"),
        (FP32, "cuda", None, "device=cuda: torch finds no such device here"),
        (BF16, "mps", None, "device=mps: torch finds no such device here"),
        (TF32, "cpu", None, "precision=tf32: wants a CUDA device, got cpu"),
        (TF32, "cuda", (7, 5), "precision=tf32: wants compute capability 8.0 or newer, got 7.5"),
        (
            Precision(name="auto"),
            "cpu",
            None,
            "precision=auto: wants a format by name by the time a run starts",
        ),
    ],
    ids=name_of,
)
def test_what_a_machine_can_not_do_is_one_line(
    chosen: Precision,
    device: str,
    capability: tuple[int, int] | None,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: capability is not None)
    monkeypatch.setattr(torch.mps, "is_available", lambda: False, raising=False)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    with pytest.raises(Unsupported) as caught:
        precision.check(chosen, device)
    assert str(caught.value) == line
    if device == "cuda" and capability is None:
        result = run_to_end(make_small(chosen, device="cuda"))
        assert (result.status, result.detail) == ("unsupported", line)


@pytest.mark.parametrize("chosen", [BF16, FP16], ids=name_of)
def test_an_autocast_that_torch_leaves_off_is_no_run(
    chosen: Precision, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = torch.autocast
    monkeypatch.setattr(torch, "autocast", lambda *given: real(*given, enabled=False))
    result = run_to_end(make_small(chosen))
    assert result.status == "unsupported" and result.formats is None
    assert result.detail == f"precision={chosen.name}: torch has no such autocast on this cpu device"


def test_fp16_for_a_gpu_that_is_not_there_ends_the_command(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("it is there")
    done = run_bench("optimizer=adam", "precision=fp16", "device=cuda", "budget=smoke", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines() == ["bench: device=cuda: this machine has cpu only"]


# Switches


def test_only_tf32_lets_tf32_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (8, 0))
    model = nn.Linear(1, 1)
    sgd = torch.optim.SGD(model.parameters())
    for chosen in (TF32, FP32, TF32, PURE):
        precision.apply(chosen, "cuda")
        is_on = chosen == TF32
        assert torch.get_float32_matmul_precision() == ("high" if is_on else "highest")
        assert torch.backends.cudnn.allow_tf32 is is_on
        read = precision.read_formats(chosen, "cuda", model, sgd, torch.float32, torch.float32)
        assert read.is_tf32 is is_on
    torch.backends.cudnn.allow_tf32 = True
    read = precision.read_formats(FP32, "cuda", model, sgd, torch.float32, torch.float32)
    assert read.is_tf32 is True


@pytest.mark.parametrize("chosen", ON_CPU, ids=name_of)
def test_an_lstm_runs_in_every_format_with_and_without_recomputing(
    chosen: Precision, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As on a processor without instructions for 16 bits, where oneDNN's kernel has no answer.
    monkeypatch.setattr(precision, "_has_instructions", lambda _dtype: False)
    small = {"depth": 2, "dropout": 0.2}
    results = []
    for cut in (Recompute(), Recompute(name="block")):
        model = precision.cast(make_small_model("lstm", **small), chosen)
        precision.apply(chosen, "cpu", model)
        recompute.apply(model, cut, "lstm")
        outputs = precision.make_call(chosen, "cpu")(model, *make_inputs("tokens"))
        outputs.float().square().sum().backward()
        results.append([outputs, *(weight.grad for weight in model.parameters())])
    assert all(torch.equal(one, two) for one, two in zip(*results, strict=True))
    assert torch.backends.mkldnn.enabled == (chosen == FP32)
    precision.apply(FP32, "cpu")
    assert torch.backends.mkldnn.enabled


def test_speed_says_something_only_where_the_hardware_has_the_format(monkeypatch: pytest.MonkeyPatch) -> None:
    assert precision.is_fast(FP32, "cpu") and precision.is_fast(FP32, "cuda")
    for answer in (False, True):
        monkeypatch.setattr(precision, "_has_instructions", lambda _dtype, answer=answer: answer)
        assert [precision.is_fast(one, "cpu") for one in (BF16, FP16, PURE)] == [answer] * 3
    assert not precision.is_fast(TF32, "cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for capability, fast in {(6, 1): set(), (7, 5): {FP16}, (8, 0): {FP16, BF16, PURE, TF32}}.items():
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda capability=capability: capability)
        assert {one for one in (FP16, BF16, PURE, TF32) if precision.is_fast(one, "cuda")} == fast
    assert not precision.is_fast(BF16, "mps")


def test_fp32_calls_a_model_as_it_always_was() -> None:
    assert precision.make_call(FP32, "cpu") is forward and precision.make_call(TF32, "cuda") is forward


@pytest.mark.gpu
@pytest.mark.parametrize("chosen", [FP32, TF32, BF16, FP16, PURE], ids=name_of)
def test_on_a_gpu_a_step_waits_for_nothing(chosen: Precision) -> None:
    run = replace(make_small(chosen), device="cuda")
    engine, _, _ = make_engine(run)
    for step in range(3):
        engine.step(step)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        engine.step(3)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    formats = engine.read_formats()
    assert formats is not None and formats.is_tf32 is (chosen == TF32)
    assert formats.autocast == {BF16: "bfloat16", FP16: "float16"}.get(chosen)
