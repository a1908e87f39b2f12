"""A run that was ended and goes on equals the one that never was, bit for bit in every number but times."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from torch import Tensor, nn

from bench.checkpoint import Checkpoints
from bench.configuration import config_folder
from bench.engine.eager import Eager
from bench.engine.single import Single
from bench.loop import Loop
from bench.result import Result
from bench.spec import Budget, Precision, Run
from bench.train import resume, train
from bench.trainee import Trainee
from tests.composing import compose_run
from tests.records import MACHINE, make_optimizer, make_run

replace = msgspec.structs.replace
OPTIMIZERS = sorted(path.stem for path in (config_folder() / "optimizer").glob("*.yaml"))
NUM_STEPS = 20
FULL_BATCH = Budget(name="full batch", steps=12, batch_size=64, hold="steps", accumulate=1, evaluations=4)


class Killed(BaseException):
    """Stands for what ends a process without asking."""


def follow(
    run: Run, keep: Checkpoints | None = None, should_stop: Callable[[], bool] | None = None
) -> tuple[Result, dict[str, Tensor]]:
    """Train; return the result, and the weights and what is evaluated as they ended."""
    trainee = Trainee(run, keep)
    single = resume(trainee, Single.name, MACHINE, lambda: Single(run))
    (end,) = Loop([trainee], MACHINE, single, should_stop).follow()
    result = trainee.conclude(end.status, end.detail, {}, MACHINE, Single.name)
    weights = {name: value.clone() for name, value in single.model.state_dict().items()}
    return result, weights | {f"evaluated.{k}": v for k, v in single.engine.evaluated.state_dict().items()}


def stop_after(num_steps: int) -> Callable[[], bool]:
    asked = iter(range(1, 10**6))
    return lambda: next(asked) == num_steps


def without_times(result: Result) -> Result:
    curve = replace(result.curve, elapsed_s=())
    return replace(result, train_s=0.0, eval_s=0.0, started_at="", notes=(), curve=curve)


def check_resumes(run: Run, folder: Path, cuts: list[int]) -> None:
    """Stop a run after each of these steps in turn, and hold its end against the undisturbed one."""
    whole, weights = follow(run)
    for cut in cuts:
        keep = Checkpoints(folder / str(cut), 1e9)
        stopped, _ = follow(run, keep, stop_after(cut))
        assert stopped.status == "interrupted" and f"step {cut} of" in str(stopped.detail), stopped
        # Another process has other random numbers behind it.
        torch.rand(7)
        again = Checkpoints(folder / str(cut), 1e9)
        resumed, found = follow(run, again)
        assert resumed.notes == (f"resumed after step {cut} of {run.budget.steps}",)
        assert without_times(resumed) == without_times(whole), cut
        for name, value in weights.items():
            assert torch.equal(value.nan_to_num(7.0), found[name].nan_to_num(7.0)), (name, cut)


def compose(name: str, precision: str, *overrides: str) -> Run:
    return compose_run(
        f"optimizer={name}", f"precision={precision}", f"budget.steps={NUM_STEPS}", "budget.batch_size=64",
        "budget.evaluations=3", *overrides, workload="digits_mlp",
    )  # fmt: skip


def skip_unless_it_runs(run: Run) -> None:
    result, _ = train(replace(run, budget=replace(run.budget, steps=1)), MACHINE)
    if result.status == "unsupported":
        pytest.skip(str(result.detail))
    assert result.status == "finished"


@pytest.mark.parametrize(("precision", "cut"), [("fp32", 1), ("bf16", NUM_STEPS // 2)])
@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name not in ("custom", "adamw_stochastic")])
def test_every_optimizer_goes_on_bit_for_bit(name: str, precision: str, cut: int, tmp_path: Path) -> None:
    check_resumes(compose(name, precision), tmp_path, [cut])


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16", "bf16_pure", "fp16"])
@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name != "custom"])
def test_every_optimizer_goes_on_wherever_it_is_cut(name: str, precision: str, tmp_path: Path) -> None:
    run = compose(name, precision)
    skip_unless_it_runs(run)
    # An evaluation is after step 7.
    check_resumes(run, tmp_path, [1, 6, 7, 8, NUM_STEPS // 2, NUM_STEPS - 1, NUM_STEPS])


@pytest.mark.parametrize(
    "overrides",
    [
        ["ema=0.99"],
        ["budget.accumulate=2", "model.dropout=0.2"],
        ["recompute=block", "model.depth=3"],
        ["clip_norm=0.1", "precision=fp16", "ema=0.9"],
        ["model=resnet", "model.norm=batch", "model.width=8"],
    ],
    ids=lambda overrides: overrides[0],
)
def test_every_part_of_a_step_goes_on(overrides: list[str], tmp_path: Path) -> None:
    check_resumes(compose("adamw", "fp32", *overrides), tmp_path, [7, 9])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("overrides", [["compile=model"], ["compile=step", "optimizer.impl=foreach"]])
def test_compiled_steps_go_on(overrides: list[str], tmp_path: Path) -> None:
    run = compose("adamw", "fp32", *overrides)
    skip_unless_it_runs(run)
    check_resumes(run, tmp_path, [1, 9])
    torch.compiler.reset()
    torch._dynamo.config.fail_on_recompile_limit_hit = False


class Foreign(nn.Module):
    """Draws its dropout from torch's stream, and counts in a buffer that no state_dict has."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3))
        self.head = nn.Linear(8, 1)
        self.register_buffer("num_calls", torch.zeros(()), persistent=False)

    def forward(self, inputs: Tensor) -> Tensor:
        if self.training:
            self.num_calls += 1  # type: ignore[operator]
        outputs: Tensor = self.head(self.layers(inputs)) * (1 + 0.01 * self.num_calls)  # type: ignore[operator]
        return outputs


class Hidden(torch.optim.Optimizer):
    """Keeps what it can't do without in places of its own, and evaluates at other weights than it trains."""

    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params, {"lr": lr})
        self.num_steps = 0
        self.scales = [1.0]
        self.noise = torch.Generator().manual_seed(3)
        self.is_training = False
        self.inner = torch.optim.SGD(self.param_groups, lr=lr, momentum=0.9)
        # Shared, as those do that work through another.
        self.inner.state = self.state

    def train(self) -> None:
        self._move(to=True)

    def eval(self) -> None:
        self._move(to=False)

    @torch.no_grad()
    def _move(self, *, to: bool) -> None:
        if to != self.is_training:
            self.is_training = to
            for group in self.param_groups:
                for weight in group["params"]:
                    weight.add_(0.01 if to else -0.01)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        assert self.is_training
        with torch.enable_grad():
            loss = closure()
        self.num_steps += 1
        self.scales[0] *= 0.9
        self.inner.param_groups, self.inner.state = self.param_groups, self.state
        self.inner.step()
        for group in self.param_groups:
            for weight in group["params"]:
                state = self.state[weight]
                # In a longer format than the weights: torch's loading would round it.
                total = state.setdefault("total", torch.zeros_like(weight, dtype=torch.float64))
                total += weight.grad.double() / 3
                draw = torch.rand(weight.shape, generator=self.noise)
                weight.add_((total * 1e-3 + draw * 1e-3 * self.scales[0] / self.num_steps).to(weight.dtype))
        return loss


class Turned(torch.optim.SGD):
    """Evaluates at other weights than it trains, and has its mode in a method: no saved state tells of it."""

    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params, lr=lr, momentum=0.9)
        self.take = self._refuse

    def train(self) -> None:
        self._turn(self._take, 0.01)

    def eval(self) -> None:
        self._turn(self._refuse, -0.01)

    @torch.no_grad()
    def _turn(self, take: Callable[[Any], Any], shift: float) -> None:
        if take != self.take:
            self.take = take
            for group in self.param_groups:
                for weight in group["params"]:
                    weight.add_(shift)

    def step(self, closure: Any = None) -> Any:
        return self.take(closure)

    def _take(self, closure: Any) -> Any:
        return super().step(closure)

    def _refuse(self, closure: Any) -> Any:
        raise AssertionError("not in training mode")


class Sealed(torch.optim.SGD):
    """Keeps something of which nobody can say what it is."""

    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params, lr=lr)
        self.things = {object()}


FOREIGN = replace(make_run().model, target="tests.test_resume.Foreign", args={})
HIDDEN = make_optimizer("tests.test_resume.Hidden", lr=0.01)


@pytest.mark.parametrize(
    "run",
    [
        make_run(model=FOREIGN),
        make_run(optimizer=HIDDEN),
        make_run(optimizer=make_optimizer("tests.test_resume.Turned", lr=0.01)),
        make_run(optimizer=HIDDEN, precision=Precision(name="bf16_pure")),
        make_run(optimizer=make_optimizer("torch.optim.LBFGS", lr=0.1), budget=FULL_BATCH),
    ],
    ids=["model", "optimizer", "mode", "bfloat16 weights", "lbfgs"],
)
def test_parts_of_ones_own_go_on(run: Run, tmp_path: Path) -> None:
    check_resumes(run, tmp_path, [1, 5, 9])


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_runs_on_a_gpu_go_on(precision: str, tmp_path: Path) -> None:
    for number, run in enumerate(
        (compose("adamw", precision), compose("muon", precision), make_run(model=FOREIGN))
    ):
        check_resumes(replace(run, device="cuda"), tmp_path / str(number), [1, 9])


def test_a_run_that_diverges_does_so_again(tmp_path: Path) -> None:
    run = make_run(optimizer=make_optimizer(lr=2.0))
    assert train(run, MACHINE)[0].diverged_step == 4
    # The last of these is saved with a loss that is not finite, before anyone looked at it.
    check_resumes(run, tmp_path, [1, 4, 5])


def test_what_cannot_be_saved_starts_over_and_says_so(tmp_path: Path) -> None:
    run = make_run(optimizer=make_optimizer("tests.test_resume.Sealed"))
    keep = Checkpoints(tmp_path, 0)
    stopped, _ = follow(run, keep, stop_after(3))
    assert stopped.status == "interrupted" and not list(tmp_path.iterdir())
    line = "no checkpoints: Sealed.things holds a set, which can't be saved; an ended run starts over"
    assert stopped.notes == (line,)
    assert without_times(follow(run, keep)[0]) == without_times(follow(run)[0])


@pytest.mark.parametrize("every_s", [1e9, 0])
def test_any_number_of_stops_and_deaths_changes_nothing(tmp_path: Path, every_s: float) -> None:
    run = make_run(optimizer=make_optimizer("torch.optim.Adam", lr=0.01), model=FOREIGN)
    whole, weights = follow(run)
    stream = random.Random(2)
    num_ends = 0
    while True:
        left = stream.randrange(1, 8)

        def end_or_not(left: int = left) -> bool:
            end_or_not.calls += 1  # type: ignore[attr-defined]
            if end_or_not.calls < left:  # type: ignore[attr-defined]
                return False
            if every_s == 0:
                raise Killed
            return True

        end_or_not.calls = 0  # type: ignore[attr-defined]
        try:
            result, found = follow(run, Checkpoints(tmp_path, every_s), end_or_not)
        except Killed:
            num_ends += 1
            continue
        if result.status == "finished":
            break
        num_ends += 1
        assert result.status == "interrupted" and num_ends < 30
    assert num_ends > 2 and without_times(result) == without_times(whole)
    assert all(torch.equal(weights[name], found[name]) for name in weights)


def test_clocks_go_on_and_leave_out_saves_and_the_time_between(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("bench.loop.time.perf_counter", lambda: now[0])
    step, save = Eager.step, Checkpoints.save

    def take_long(self: Any, number: int) -> Tensor:
        now[0] += 2.0
        return step(self, number)  # type: ignore[no-any-return]

    def save_long(self: Any, *arguments: Any) -> bool:
        now[0] += 50.0
        return save(self, *arguments)

    monkeypatch.setattr("bench.engine.eager.Eager.step", take_long)
    monkeypatch.setattr("bench.checkpoint.Checkpoints.save", save_long)
    run = make_run()
    stopped, _ = train(run, MACHINE, Checkpoints(tmp_path, 0), stop_after(7))
    assert stopped.train_s == 14.0 and stopped.status == "interrupted"
    now[0] += 1e6
    resumed, _ = train(run, MACHINE, Checkpoints(tmp_path, 0))
    assert resumed.train_s == 40.0 and resumed.curve.elapsed_s == (0.0, 10.0, 20.0, 30.0, 40.0)
    assert resumed.started_at == stopped.started_at


def test_each_evaluation_is_told_once(tmp_path: Path) -> None:
    run, told = make_run(), list[tuple[int, float]]()

    def tell(step: int, loss: float) -> None:
        told.append((step, loss))

    train(run, MACHINE, Checkpoints(tmp_path, 1e9), stop_after(11), tell)
    result, _ = train(run, MACHINE, Checkpoints(tmp_path, 1e9), None, tell)
    assert told == list(zip(result.curve.step, result.curve.val_loss, strict=True))


def test_a_state_that_no_longer_loads_starts_over_and_says_so(tmp_path: Path) -> None:
    run = make_run()
    follow(run, Checkpoints(tmp_path, 1e9), stop_after(5))
    keep = Checkpoints(tmp_path, 1e9)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bench.engine.eager.Eager.load_state_dict", lambda *_: 1 / 0)
        result, _ = follow(run, keep)
    assert keep.notes == ["started over: its state can't be loaded: ZeroDivisionError: division by zero"]
    assert without_times(result) == without_times(follow(run)[0])
