"""What a member comes to depends on none of its companions: how many, which, in what order, how they end."""

from __future__ import annotations

import functools
import random

import pytest

from bench.result import Result
from bench.spec import Run
from tests.populations import LRS, MODELS, is_alike, make, replace, train_all, vary

NUM_STEPS = 5
# Whose updates are of different kinds; all the others are tried in the slow tests.
QUICK = ("momentum", "adamw", "muon")


def make_pool(model: str, names: tuple[str, ...], num: int) -> list[Run]:
    """Return runs of several optimizers, each with a seed of its own."""
    base = make(model, steps=NUM_STEPS)
    runs = [run for name in names for run in vary(base, name, num)]
    return [replace(run, seed=seed) for seed, run in enumerate(runs)]


def shuffle(runs: list[Run], seed: int = 3) -> list[Run]:
    return random.Random(seed).sample(runs, len(runs))


def train_in_order(runs: list[Run]) -> dict[int, Result]:
    """Return ends by seed."""
    return {run.seed: result for run, result in zip(runs, train_all(runs), strict=True)}


def spoil(run: Run) -> Run:
    """Return a run that ends at the first evaluation after the start."""
    return replace(run, optimizer=replace(run.optimizer, lr=1e200), seed=run.seed + 1000)


@functools.cache
def train_pool() -> dict[int, Result]:
    """Return the ends of 63 runs of all optimizers."""
    ends = train_in_order(shuffle(make_pool("mlp", tuple(LRS), 6))[:63])
    assert all(end.engine == "population" and end.status == "finished" for end in ends.values())
    return ends


@pytest.mark.parametrize("name", QUICK)
def test_a_member_alone_is_what_it_is_among_others(name: str) -> None:
    check_optimizer(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in LRS if name not in QUICK])
def test_members_of_every_optimizer_are_what_they_are_among_others(name: str) -> None:
    check_optimizer(name)


def check_optimizer(name: str) -> None:
    mine = [run for run in make_pool("mlp", tuple(LRS), 6) if run.optimizer.name == name]
    mine = [run for run in mine if run.seed in train_pool()][:4]
    assert len(mine) == 4
    (alone,) = train_all(mine[:1])
    assert alone.engine == "population" and alone.notes == ()
    assert is_alike([alone], [train_pool()[mine[0].seed]])
    # Few of them, backwards, of which half are gone in the middle.
    spoilt = [spoil(run) for run in mine]
    few = train_in_order(shuffle([*mine, *spoilt]))
    assert [few[run.seed].status for run in spoilt] == ["diverged"] * 4
    assert is_alike([few[run.seed] for run in mine], [train_pool()[run.seed] for run in mine])


def check_model(model: str, names: tuple[str, ...]) -> None:
    pool = make_pool(model, names, 4)
    many = train_in_order(pool)
    assert {(end.engine, end.status, end.notes) for end in many.values()} == {("population", "finished", ())}
    last = pool[-1]
    assert is_alike(train_all([last]), [many[last.seed]])
    others = [run for run in pool if run is not last]
    apart = train_in_order(shuffle([*others[: len(others) // 2], last, *map(spoil, others)]))
    for seed, end in apart.items():
        if seed < 1000:
            assert is_alike([end], [many[seed]])
    assert "diverged" in {end.status for end in apart.values()}


@pytest.mark.parametrize("model", ["mlp, dropout", "cnn"])
def test_models_of_members_do_not_feel_each_other(model: str) -> None:
    check_model(model, ("momentum", "adamw"))


@pytest.mark.slow
@pytest.mark.parametrize("model", [name for name in MODELS if name not in ("mlp, dropout", "cnn")])
def test_models_of_every_kind_do_not_feel_each_other(model: str) -> None:
    check_model(model, ("momentum", "adamw"))


def test_how_many_there_is_memory_for_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = make_pool("mlp, dropout", ("adamw", "nesterov"), 4)
    runs.insert(3, spoil(runs[0]))
    whole = train_all(runs)
    monkeypatch.setattr("bench.engine.population.find_limit", lambda *_: 3)
    assert is_alike(train_all(runs), whole)


@pytest.mark.parametrize(
    "words", [("clip_norm=0.1", "ema=0.9"), ("budget.accumulate=3", "precision=fp32")], ids=["fp64", "fp32"]
)
def test_what_goes_beside_an_optimizer_is_no_bond(words: tuple[str, ...]) -> None:
    base = make("mlp, dropout", *words, steps=NUM_STEPS)
    runs = [*vary(base, "adamw", 3), *vary(base, "momentum", 3)]
    together = train_all(runs)
    assert is_alike(train_all(runs[:1]), together[:1])
    assert is_alike(train_all(runs[:3:-1]), together[:3:-1])
