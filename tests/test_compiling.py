"""A compiled step computes what the plain one does, is compiled once, and is refused where it can't be."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import torch
from torch import nn

from bench import compiling, train
from bench.engine import traced
from bench.engine.eager import Eager
from bench.errors import Unsupported
from bench.model.dropout import Dropout, set_step
from bench.prepare import prepare
from bench.spec import Compile, Precision, Run
from bench.together import find_shape
from tests.populations import train_all
from tests.records import MACHINE, make_optimizer, make_run
from tests.tiers import few

replace = msgspec.structs.replace
MODEL, STEP = Compile(name="model"), Compile(name="step")

# The compiler's own parts still use what torch has by now replaced.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")


@pytest.fixture(autouse=True)
def _graphs_only(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[None]:
    """Stop where code would be generated for a C++ compiler, which takes most of the time."""
    if "slow" not in request.keywords:
        monkeypatch.setattr(compiling, "_BACKEND", "aot_eager")
    yield
    torch.compiler.reset()
    torch._dynamo.config.fail_on_recompile_limit_hit = False


def make_compiled(compiled: Compile, **changes: Any) -> Run:
    model = make_run().model
    model = replace(model, args=model.args | {"dropout": 0.3})
    adam = make_optimizer("torch.optim.Adam", lr=0.01, impl="foreach")
    return make_run(**({"model": model, "optimizer": adam} | changes), compile=compiled)


def take_steps(run: Run, num_steps: int = 6) -> tuple[list[float], list[int], list[torch.Tensor]]:
    """Return each step's loss, how much was compiled by its end, and the weights after the last."""
    model, optimizer, data = prepare(run)
    engine = Eager(run, model, optimizer, data)
    losses, counts = [], []
    for step in range(num_steps):
        losses.append(engine.step(step).item())
        counts.append(compiling.count_compiled())
    return losses, counts, list(model.parameters())


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"precision": Precision(name="bf16")},
        {"clip_norm": 0.1, "ema": 0.9},
        {"optimizer": make_optimizer(impl="forloop", lr=0.05)},
    ],
    ids=["plain", "bf16", "clipped", "forloop"],
)
@pytest.mark.parametrize("compiled", few([STEP, MODEL]), ids=["step", "model"])
def test_the_numbers_are_those_of_the_plain_step(compiled: Compile, changes: dict[str, Any]) -> None:
    run = make_compiled(compiled, **changes)
    losses, counts, weights = take_steps(run)
    plain, none, expected = take_steps(replace(run, compile=Compile()))
    # A dropout mask that was off by one bit would show at once.
    assert losses == pytest.approx(plain, rel=1e-5)
    for one, two in zip(weights, expected, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-6)
    # A warm-up changes the lr at every step, and dropout its mask: neither is a reason to compile again.
    assert counts[0] > 0 and len(set(counts[1:])) == 1
    assert len(set(none)) == 1


def test_parts_of_a_batch_share_a_graph() -> None:
    budget = replace(make_run().budget, accumulate=2)
    losses, counts, _ = take_steps(make_compiled(MODEL, budget=budget))
    plain, _, _ = take_steps(make_compiled(Compile(), budget=budget))
    assert losses == pytest.approx(plain, rel=1e-5) and counts == [1] * 6


def test_a_run_starts_with_nothing_compiled() -> None:
    assert take_steps(make_compiled(MODEL))[1][0] == take_steps(make_compiled(MODEL))[1][0] == 1
    assert compiling.count_breaks() == 0


def test_a_compiled_run_is_a_result_of_its_own() -> None:
    run = make_compiled(MODEL, budget=replace(make_run().budget, evaluations=2))
    result, _ = train.train(run, MACHINE)
    plain, _ = train.train(replace(run, compile=Compile()), MACHINE)
    assert result.status == "finished" and result.id != plain.id
    assert result.val_loss == pytest.approx(plain.val_loss, rel=1e-4)
    # What is evaluated is the model as it is: its first loss is the same to the bit.
    assert result.curve.val_loss[0] == plain.curve.val_loss[0]


CUDA = {"device": "cuda"}


@pytest.mark.parametrize(
    ("compiled", "changes", "line"),
    [
        (Compile(graphs=True), {}, "compile.graphs: wants compile=model or compile=step"),
        (
            Compile(name="model", graphs=True),
            {},
            "compile.graphs: CUDA graphs want a CUDA device, got cpu",
        ),
        (
            Compile(name="model", graphs=True),
            CUDA | {"budget": replace(make_run().budget, accumulate=2)},
            "compile.graphs: wants budget.accumulate=1, got 2",
        ),
        (
            STEP,
            {"precision": Precision(name="fp16")},
            "compile=step: can't leave out the steps that overflow, as precision=fp16 has to",
        ),
        (MODEL, {"device": "mps"}, "compile=model: wants a CPU or a CUDA device, got mps"),
    ],
    ids=["none", "cpu", "parts", "fp16", "mps"],
)
def test_what_does_not_go_together_is_one_line(compiled: Compile, changes: dict[str, Any], line: str) -> None:
    with pytest.raises(Unsupported) as caught:
        compiling.check(make_compiled(compiled, **changes))
    assert str(caught.value) == line


@pytest.mark.parametrize("target", ["torch.optim.Adam", "torch.optim.LBFGS"])
def test_a_step_that_torch_does_not_compile_is_unsupported(target: str) -> None:
    lines = {
        "torch.optim.Adam": "torch leaves a fused update as it is; wants optimizer.impl=foreach",
        "torch.optim.LBFGS": "LBFGS asks for the loss itself in its step",
    }
    impl = "fused" if target.endswith("Adam") else None
    run = make_compiled(STEP, optimizer=make_optimizer(target, impl=impl))
    result, _ = train.train(run, MACHINE)
    assert (result.status, result.detail) == ("unsupported", f"compile=step: {lines[target]}")


class Shy(nn.Linear):
    """Keeps its only function away from the compiler."""

    @torch.compiler.disable
    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return super().forward(inputs)


def test_a_model_of_which_nothing_is_compiled_is_unsupported() -> None:
    shy = replace(
        make_run().model, target="tests.test_compiling.Shy", args={"in_features": 4, "out_features": 1}
    )
    result, _ = train.train(make_compiled(MODEL, model=shy), MACHINE)
    line = "compile=model: torch can compile nothing of mlp"
    assert (result.status, result.detail) == ("unsupported", line)


def test_without_a_compiler_it_is_unsupported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "_BACKEND", "inductor")
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(
        Unsupported, match=r"^compile=model: wants a C\+\+ compiler, no-such-compiler is not here$"
    ):
        compiling.check(make_compiled(MODEL))
    compiling.check(make_compiled(Compile()))


def make_several(compiled: Compile, **changes: Any) -> list[Run]:
    """Return runs of two optimizers that may train together, and evaluate twice."""
    budget = replace(make_run().budget, evaluations=2)
    sgd = make_optimizer("torch.optim.SGD", lr=0.05)
    base = make_compiled(compiled, **({"budget": budget} | changes))
    return [replace(one, seed=seed) for one in (base, replace(base, optimizer=sgd)) for seed in range(2)]


@pytest.mark.parametrize("changes", [{}, {"precision": Precision(name="bf16")}], ids=["plain", "bf16"])
def test_many_runs_are_compiled_once(changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[object] = []
    compile_graph = traced.compile_graph
    monkeypatch.setattr(
        traced, "compile_graph", lambda *asked: compiled.append(asked) or compile_graph(*asked)
    )
    together = train_all(make_several(MODEL, **changes))
    # With and without the share of dead units, which not every step asks for.
    assert len(compiled) == 2 and 1 <= torch._dynamo.utils.counters["stats"]["unique_graphs"] <= 2
    assert {(one.engine, one.status) for one in together} == {("population", "finished")}
    plain = train_all(make_several(Compile(), **changes))
    close = 1e-5 if not changes else 3e-2
    assert [one.val_loss for one in together] == pytest.approx([one.val_loss for one in plain], rel=close)


def test_a_compiled_update_is_that_of_one_run() -> None:
    assert {find_shape(run) for run in make_several(STEP)} == {None}
    assert len({find_shape(run) for run in make_several(MODEL)} - {None}) == 1
    assert find_shape(make_several(MODEL)[0]) != find_shape(make_several(Compile())[0])


def test_what_can_not_be_traced_is_compiled_one_by_one() -> None:
    model = replace(make_run().model, target="tests.models.Anything")
    assert find_shape(make_compiled(Compile(), model=model)) is not None
    assert find_shape(make_compiled(MODEL, model=model)) is None


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
def test_generated_code_of_many_runs_computes_the_same() -> None:
    together, plain = train_all(make_several(MODEL)), train_all(make_several(Compile()))
    assert {one.engine for one in together} == {"population"}
    assert [one.val_loss for one in together] == pytest.approx([one.val_loss for one in plain], rel=1e-5)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
def test_generated_code_draws_the_same_masks() -> None:
    layer = Dropout(0.3)
    compiled = torch.compile(layer)
    inputs = torch.ones(64, 33)
    for step in range(4):
        set_step([layer], seed=5, step=step)
        assert torch.equal(compiled(inputs), layer(inputs))
    losses, counts, _ = take_steps(make_compiled(STEP))
    plain, _, _ = take_steps(make_compiled(Compile()))
    assert losses == pytest.approx(plain, rel=1e-5) and len(set(counts[1:])) == 1


@pytest.mark.gpu
@pytest.mark.parametrize("compiled", [MODEL, Compile(name="model", graphs=True)], ids=["model", "graphs"])
def test_on_a_gpu_many_runs_compute_the_same(compiled: Compile) -> None:
    together, plain = (train_all(make_several(one, device="cuda")) for one in (compiled, Compile()))
    assert {one.engine for one in together} == {"population"}
    assert [one.val_loss for one in together] == pytest.approx([one.val_loss for one in plain], rel=1e-4)


@pytest.mark.gpu
@pytest.mark.parametrize(
    "compiled", [MODEL, STEP, Compile(name="model", graphs=True)], ids=["model", "step", "graphs"]
)
def test_on_a_gpu_it_computes_the_same(compiled: Compile) -> None:
    losses, counts, _ = take_steps(make_compiled(compiled, device="cuda"))
    plain, _, _ = take_steps(make_compiled(Compile(), device="cuda"))
    assert losses == pytest.approx(plain, rel=1e-4) and len(set(counts[1:])) == 1
