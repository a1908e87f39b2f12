"""Runs that train together are each saved, stopped, resumed and concluded as if there were no others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from bench.checkpoint import Checkpoints
from bench.result import Result
from bench.spec import Run
from bench.train import train, train_together
from bench.trainee import Trainee
from tests.composing import compose_run
from tests.populations import LRS, find_worst, is_alike, make, replace, strip, train_all, train_each, vary
from tests.records import MACHINE, make_optimizer

NUM_STEPS = 8


def stop_after(num_steps: int) -> Callable[[], bool]:
    asked = iter(range(1, 10**6))
    return lambda: next(asked) == num_steps


def make_keeps(folder: Path, runs: Sequence[Run]) -> list[Checkpoints]:
    return [Checkpoints(folder / f"{run.optimizer.name}-{run.seed}", 1e9) for run in runs]


def stop(runs: Sequence[Run], folder: Path, cut: int) -> list[Result]:
    """Train runs together, and stop after some steps."""
    ends = train_all(runs, make_keeps(folder, runs), stop_after(cut))
    detail = f"asked to stop after step {cut} of {NUM_STEPS}"
    assert {(end.status, end.detail, end.engine) for end in ends} == {("interrupted", detail, "population")}
    return ends


def check_resumes(runs: list[Run], folder: Path) -> None:
    """Stop two halves at different steps, and go on in two other groupings."""
    whole = train_all(runs)
    # An evaluation is after step 4; the second half is stopped twice.
    stop(runs[::2], folder, 3)
    stop(runs[1::2], folder, 1)
    keeps = make_keeps(folder, runs[1::2])
    ends = train_all(runs[1::2], keeps, stop_after(4))
    assert {end.detail for end in ends} == {f"asked to stop after step 5 of {NUM_STEPS}"}
    # All at once, though they are not at one position; others are new.
    new = [replace(run, seed=run.seed + 100) for run in runs[:2]]
    order = [*runs[::-1], *new]
    ends = train_all(order, make_keeps(folder, order))
    for run, end in zip(order, ends, strict=True):
        assert end.status == "finished" and end.engine == "population"
        if run in new:
            assert end.notes == ()
        else:
            after = 3 if run in runs[::2] else 5
            assert end.notes == (f"resumed after step {after} of {NUM_STEPS}",)
    assert is_alike(ends[: len(runs)], whole[::-1])


@pytest.mark.parametrize(
    "names", [["momentum", "adam", "muon"], pytest.param(sorted(LRS), marks=pytest.mark.slow, id="all")]
)
def test_runs_go_on_in_other_company_bit_for_bit(names: list[str], tmp_path: Path) -> None:
    base = make("mlp, dropout", steps=NUM_STEPS)
    check_resumes([run for name in names for run in vary(base, name, 2)], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["resnet, batch norm", "gpt, dropout", "lstm"])
def test_models_go_on_in_other_company_bit_for_bit(model: str, tmp_path: Path) -> None:
    base = make(model, "ema=0.9", steps=NUM_STEPS)
    check_resumes([*vary(base, "adamw", 2), *vary(base, "momentum", 2)], tmp_path)


def test_optimizers_without_a_rule_and_averages_go_on(tmp_path: Path) -> None:
    base = make("mlp", "ema=0.9", "clip_norm=0.5", steps=NUM_STEPS)
    others = [
        make_optimizer("tests.engine.test_fallbacks.Sign", lr=0.003),
        make_optimizer("tests.engine.test_fallbacks.Averaged", lr=0.1),
    ]
    runs = [replace(base, optimizer=one, seed=seed) for one in others for seed in (0, 1)]
    check_resumes([*runs, *vary(base, "adamw", 2)], tmp_path)


def test_a_damaged_state_costs_its_own_run_only(tmp_path: Path) -> None:
    runs = vary(make("mlp", steps=NUM_STEPS), "adamw", 3)
    whole = train_all(runs)
    stop(runs, tmp_path, 5)
    (path,) = (tmp_path / "adamw-1").iterdir()
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)
    ends = train_all(runs, make_keeps(tmp_path, runs))
    again = f"resumed after step 5 of {NUM_STEPS}"
    assert [end.notes for end in ends] == [(again,), ("checkpoint-a not used: it is damaged",), (again,)]
    assert is_alike(ends, whole)


def test_no_engine_goes_on_from_the_state_of_another(tmp_path: Path) -> None:
    runs = vary(make("mlp", steps=NUM_STEPS), "momentum", 2)
    stop(runs, tmp_path, 5)
    result, _ = train(runs[0], MACHINE, make_keeps(tmp_path, runs)[0])
    assert result.notes == ("checkpoint-a not used: its engine is 'population', wants 'eager'",)
    assert is_alike([result], train_each(runs[:1]))
    (tmp_path / "eager").mkdir()
    keep = Checkpoints(tmp_path / "eager" / "momentum-0", 1e9)
    train(runs[0], MACHINE, keep, stop_after(5))
    ends = train_all(runs, make_keeps(tmp_path / "eager", runs))
    assert ends[0].notes == ("checkpoint-a not used: its engine is 'eager', wants 'population'",)
    assert is_alike(ends, train_all(runs))


def test_who_falls_back_starts_over_and_does_not_say_that_it_went_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = vary(make("mlp", steps=NUM_STEPS), "momentum", 2)
    stop(runs, tmp_path, 5)
    monkeypatch.setattr("bench.engine.stack.Stack.step", lambda *_: 1 / 0)
    ends = train_all(runs, make_keeps(tmp_path, runs))
    for end in ends:
        assert end.engine == "eager" and end.notes == (
            "trained by itself: ZeroDivisionError: division by zero",
            "checkpoint-a not used: its engine is 'population', wants 'eager'",
        )
    assert is_alike(ends, train_each(runs))


def test_each_diverges_where_it_would_alone() -> None:
    runs = vary(make("mlp", steps=20), "sgd", 2)
    lrs = (1e40, 1e150, 1e4, 1e12)
    wild = [
        replace(run, seed=9 + number, optimizer=replace(run.optimizer, lr=lr, weight_decay=0.0))
        for number, lr in enumerate(lrs)
        for run in runs[:1]
    ]
    mixed = [wild[0], runs[0], *wild[1:], runs[1]]
    ends = train_all(mixed)
    assert find_worst([ends[1], ends[-1]], train_each(runs)) < 1e-9
    for end, other in zip([ends[0], *ends[2:-1]], train_each(wild), strict=True):
        assert (end.status, end.diverged_step, end.num_steps) == (
            other.status, other.diverged_step, other.num_steps,
        )  # fmt: skip
        assert end.engine == "population" and other.engine == "eager"
    assert len({end.diverged_step for end in ends}) >= 3


def test_seeds_that_are_drawn_leave_the_same_files() -> None:
    runs = [
        compose_run(
            "budget.steps=3", "budget.evaluations=1", "precision=fp64", workload="photo_mlp", seed=seed
        )
        for seed in range(2)
    ]
    told: list[tuple[int, int, float]] = []
    trainees = [
        Trainee(run, None, lambda step, loss, seed=run.seed: told.append((seed, step, loss)), ("to know",))  # type: ignore[misc]
        for run in runs
    ]
    ends = {place: (result, files) for place, result, files in train_together(trainees, MACHINE)}
    for seed, run in enumerate(runs):
        alone, files = train(run, MACHINE)
        result, found = ends[seed]
        assert found.keys() == files.keys() and (len(files) > 0) == (seed == 0)
        assert result.artifacts == alone.artifacts and result.notes == ("to know",)
        assert strip(result).formats == alone.formats is not None
        points = [(place, step) for place, step, _ in told if place == seed]
        assert points == [(seed, 0), (seed, 3)]


def test_files_show_what_the_model_of_the_run_gives() -> None:
    runs = [
        compose_run("budget.steps=2", "budget.evaluations=1", "ema=0.5", workload="photo_mlp", seed=seed)
        for seed in (1, 0)
    ]
    together = {place: files for place, _, files in train_together([Trainee(run) for run in runs], MACHINE)}
    _, alone = train(runs[1], MACHINE)
    assert together[0] == {} and together[1].keys() == alone.keys()
    for name, content in alone.items():
        assert len(content) == pytest.approx(len(together[1][name]), rel=0.01)
