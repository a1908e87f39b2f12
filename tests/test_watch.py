"""Looking at gradients changes no number, and finds those that a loop written by hand does."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import torch
from torch.nn.functional import cross_entropy

from bench.checkpoint import Checkpoints
from bench.engine.watch import list_steps
from bench.health import Watch, Watching
from bench.identity import run_id
from bench.prepare import prepare
from bench.result import Result
from bench.seeds import seed_for
from bench.spec import Run
from bench.train import train, train_together
from bench.trainee import Trainee
from tests.composing import compose_run
from tests.records import MACHINE

OVERRIDES = ("budget.steps=30", "budget.evaluations=3", "optimizer.lr=1e-2", "precision=fp32", "watch=full")


def make_run(*overrides: str, workload: str = "digits_mlp") -> Run:
    return compose_run(*OVERRIDES, *overrides, workload=workload)


def without(run: Run) -> Run:
    return msgspec.structs.replace(run, watch=Watching())


def watched(result: Result) -> Watch:
    assert result.watch is not None
    return result.watch


def test_samples_lie_evenly_from_the_first_step_to_the_last() -> None:
    light = compose_run().watch
    assert list_steps(light, 99) == ()
    assert list_steps(light, 100) == (50,)
    assert list_steps(light, 200) == (0, 199)
    assert list_steps(light, 100_000)[0] == 0 and list_steps(light, 100_000)[-1] == 99_999
    assert len(list_steps(light, 100_000)) == light.samples
    assert list_steps(Watching(), 1000) == ()
    assert list_steps(make_run().watch, 30) == tuple(range(30))


@pytest.mark.parametrize(
    "overrides",
    [(), ("optimizer=sgd", "model.dropout=0.2", "budget.accumulate=2"), ("ema=0.9", "clip_norm=0.1")],
)
def test_losses_are_the_same_with_and_without(overrides: tuple[str, ...]) -> None:
    run = make_run(*overrides)
    seen, plain = train(run, MACHINE)[0], train(without(run), MACHINE)[0]
    assert seen.status == "finished" and run_id(run) == run_id(without(run))
    assert (seen.curve.train_loss, seen.curve.val_loss) == (plain.curve.train_loss, plain.curve.val_loss)
    assert plain.watch is None and watched(seen).step == tuple(range(30))


def test_numbers_are_those_of_a_loop_by_hand() -> None:
    run = make_run("optimizer=sgd", "optimizer.lr=0.1", "schedule=constant", "clip_norm=0.5")
    found = watched(train(run, MACHINE)[0])
    assert found.layers == ("layers.0", "layers.2", "layers.4")
    model, _, data = prepare(run)
    inputs, targets = data.train_batch(seed_for(0, run.vary, "order"), 0, run.budget.batch_size)
    cross_entropy(model(inputs), targets).backward()
    layers = [model.get_submodule(f"layers.{number}") for number in (0, 2, 4)]
    norms = [torch.cat([one.weight.grad.flatten(), one.bias.grad]).norm() for one in layers]
    weights = [torch.cat([one.weight.flatten(), one.bias]).detach().norm() for one in layers]
    assert found.gradient_norm[0] == pytest.approx([float(one) for one in norms], rel=1e-3)
    assert found.parameter_norm[0] == pytest.approx([float(one) for one in weights], rel=1e-3)
    # The update is lr times the gradient as it was clipped; the schedule's first step may have a part of it.
    total = float(torch.stack(norms).norm())
    factor = found.update_ratio[0][0] / float(norms[0] / weights[0])  # type: ignore[operator]
    for ratio, norm, weight in zip(found.update_ratio[0], norms, weights, strict=True):
        assert ratio == pytest.approx(factor * float(norm / weight), rel=1e-2)
    assert factor <= 0.1 * min(1.0, 0.5 / total) * 1.001
    assert found.clipped_share is not None and (total > 0.5) <= (found.clipped_share > 0)


def test_units_that_are_dead_are_counted() -> None:
    run = make_run("optimizer=sgd", "optimizer.lr=1e-8", "budget.steps=3", "budget.evaluations=1")
    found = watched(train(run, MACHINE)[0])
    model, _, data = prepare(run)
    inputs, _ = data.train_batch(seed_for(0, run.vary, "order"), 0, run.budget.batch_size)

    seen = inputs.flatten(1)
    with torch.no_grad():
        shares = []
        for number in (0, 2):
            seen = model.get_submodule(f"layers.{number}")(seen).relu()
            shares.append(float((seen == 0).all(0).float().mean()))
    assert found.activations == ("layers.1", "layers.3")
    assert found.dead_share[0] == pytest.approx(shares)


def test_members_of_a_population_are_seen_as_runs_alone_are() -> None:
    runs = [make_run(f"clip_norm={0.1 + seed}", "budget.accumulate=2") for seed in range(3)]
    runs = [msgspec.structs.replace(run, seed=seed) for seed, run in enumerate(runs)]
    together = {place: one for place, one, _ in train_together([Trainee(run) for run in runs], MACHINE)}
    for place, run in enumerate(runs):
        stacked, alone = together[place], train(run, MACHINE)[0]
        assert (stacked.engine, alone.engine) == ("population", "eager")
        seen, wanted = watched(stacked), watched(alone)
        assert (seen.layers, seen.step) == (wanted.layers, wanted.step)
        assert seen.clipped_share == wanted.clipped_share
        for step in range(30):
            assert seen.gradient_norm[step] == pytest.approx(wanted.gradient_norm[step], rel=0.02)
            assert seen.parameter_norm[step] == pytest.approx(wanted.parameter_norm[step], rel=0.02)
            assert seen.update_ratio[step] == pytest.approx(wanted.update_ratio[step], rel=0.02)
            # A unit more or less, of 64.
            assert seen.dead_share[step] == pytest.approx(wanted.dead_share[step], abs=0.02)
        assert seen.activations == wanted.activations != ()


def test_a_look_at_a_population_changes_no_number_of_it() -> None:
    # Its norms keep running statistics, its dropout a mask for each step.
    words = ("workload=digits_cnn", "model=resnet", "model.width=4", "model.dropout=0.2", "budget.steps=6")
    runs = [
        [
            msgspec.structs.replace(compose_run(*words, "budget.evaluations=2", watch), seed=seed)
            for seed in range(2)
        ]
        for watch in ("watch=full", "watch=none")
    ]
    seen, unseen = (
        [one for _, one, _ in train_together([Trainee(run) for run in some], MACHINE)] for some in runs
    )
    assert [one.engine for one in seen] == ["population"] * 2
    assert watched(seen[0]).activations != () and unseen[0].watch is None
    for one, other in zip(seen, unseen, strict=True):
        assert one.curve.val_loss == other.curve.val_loss and one.search_loss == other.search_loss
        assert one.curve.train_loss == other.curve.train_loss


def test_what_is_not_finite_is_stored_as_none() -> None:
    run = make_run("optimizer=sgd", "optimizer.lr=1e30", "budget.steps=6", "budget.evaluations=1")
    result, _ = train(run, MACHINE)
    assert result.status == "diverged"
    assert None in watched(result).gradient_norm[-1]
    assert msgspec.json.decode(msgspec.json.encode(result), type=Result) == result


def test_a_scaled_loss_has_gradients_of_its_own_size() -> None:
    short = ("budget.steps=4", "budget.evaluations=1", "clip_norm=0.1")
    half = watched(train(make_run(*short, "precision=fp16"), MACHINE)[0])
    whole = watched(train(make_run(*short), MACHINE)[0])
    assert half.loss_scale == (2.0**16,) * 4 and whole.loss_scale == ()
    assert half.gradient_norm[0] == pytest.approx(whole.gradient_norm[0], rel=0.02)
    assert half.clipped_share == whole.clipped_share == 1.0


def test_a_run_that_goes_on_keeps_what_was_seen(tmp_path: Path) -> None:
    run, calls = make_run(), iter(range(1000))
    ended, _ = train(run, MACHINE, Checkpoints(tmp_path, 1000.0), lambda: next(calls) == 16)
    assert ended.status == "interrupted" and len(watched(ended).step) == 17
    resumed, _ = train(run, MACHINE, Checkpoints(tmp_path, 1000.0))
    assert resumed.notes == ("resumed after step 17 of 30",)
    assert resumed.watch == train(run, MACHINE)[0].watch
