"""Runs that train as one population end where each would by itself, in float64 but for the last digits."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn

from bench.result import Result
from bench.spec import Model, Run, Schedule
from bench.together import find_shape
from tests.population_tables import move
from tests.populations import LRS, MODELS, find_worst, make, replace, train_all, train_each, vary
from tests.tiers import few

# Of any number of a run: curves, metrics, the search loss.
CLOSE = 1e-9


def measure(runs: list[Run]) -> float:
    """Return the worst relative difference between runs together and by themselves."""
    together = train_all(runs)
    check_engine(together)
    return find_worst(together, train_each(runs))


def check_engine(results: list[Result]) -> None:
    assert {(result.engine, result.notes) for result in results} == {("population", ())}


def test_all_optimizers_train_in_one_population() -> None:
    runs = [run for name in LRS for run in vary(make("mlp", steps=4), name, 3)]
    # Whoever is trained beside whom: not in the order of the optimizers.
    assert measure(runs[::3] + runs[1::3] + runs[2::3]) < CLOSE


@pytest.mark.parametrize(
    "model", few(["cnn", "gpt, dropout", "vit", "lstm", "autoencoder", "denoiser", "point"], 2)
)
def test_each_model_trains_as_a_population(model: str) -> None:
    # The first step is taken as it comes, the second is traced, the third goes by the trace.
    base = make(model, steps=3)
    assert measure([*vary(base, "adamw", 2), *vary(base, "momentum", 2)]) < CLOSE


class Normed(nn.Sequential):
    """Every norm there is, between convolutions: of a class that no trace is taken of."""

    def __init__(self, *, input_shape: tuple[int, ...], num_outputs: int) -> None:
        super().__init__(
            nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.GroupNorm(2, 4), nn.ReLU(),
            nn.Conv2d(4, 6, 3, stride=2), nn.BatchNorm2d(6), nn.ReLU(), nn.GroupNorm(3, 6, affine=False),
            nn.Flatten(), nn.LayerNorm(294), nn.Linear(294, num_outputs),
        )  # fmt: skip


@pytest.mark.parametrize("precision", ["fp64", "bf16"])
def test_norms_are_those_of_each_member(precision: str) -> None:
    base = make("resnet, group norm", f"precision={precision}", steps=5)
    base = replace(base, model=Model(target="tests.engine.test_equality.Normed", name="normed"), ema=0.9)
    runs = vary(base, "momentum", 3)
    together = train_all(runs)
    check_engine(together)
    if precision == "fp64":
        assert find_worst(together, train_each(runs)) < CLOSE
    else:
        assert find_worst(together, train_each(runs), is_all=False) < 3e-2


OPTIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    "ema": ("mlp", ("ema=0.9",)),
    "accumulate": ("mlp", ("budget.accumulate=4",)),
    "accumulate, uneven, dropout": ("mlp, dropout", ("budget.accumulate=3",)),
    "wsd": ("mlp", ("schedule=wsd", "schedule.warmup=0.3")),
    "epochs": ("mlp", ("schedule.interval=epoch",)),
    "init alone": ("mlp, dropout", ("seeds.vary=[init]",)),
    "order alone": ("mlp, dropout", ("seeds.vary=[order]",)),
    "dropout alone": ("mlp, dropout", ("seeds.vary=[dropout]",)),
    "split alone": ("mlp", ("seeds.vary=[order]", "data.split_seed=3")),
    "full batch": ("mlp", ("budget.batch_size=5000",)),
    "full batch, drawn": ("point", ("budget.batch_size=64",)),
    "augmented": ("cnn", ("data=mnist", "data.augment=flip_crop")),
    "decay of groups": (
        "mlp",
        ("optimizer.groups.matrices.weight_decay=0.1", "optimizer.groups.vectors.lr_scale=0.5"),
    ),
}


@pytest.mark.parametrize("option", few(OPTIONS, 4))
def test_what_goes_beside_an_optimizer_holds_for_each_member(option: str) -> None:
    model, words = OPTIONS[option]
    base = make(model, *words, steps=5)
    groups = base.optimizer.groups
    runs = [*vary(base, "adamw", 3), *vary(base, "nesterov", 3)]
    runs = [replace(run, optimizer=replace(run.optimizer, groups=groups)) for run in runs]
    assert measure(runs) < CLOSE


def test_bounds_and_schedules_may_differ() -> None:
    schedules: list[dict[str, Any]] = [
        {"name": "cosine", "warmup": 0.5}, {"name": "linear", "warmup": 0.0},
        {"name": "constant", "warmup": 0.2},
    ]  # fmt: skip
    runs = [
        replace(
            run,
            clip_norm=bound,
            schedule=Schedule(**schedules[number % 3], floor=0.1 * number, interval="step"),
        )
        for number, (run, bound) in enumerate(
            zip(vary(make("mlp"), "nesterov", 5), (0.02, 0.5, 1.0, 100.0, 1e-4), strict=True)
        )
    ]
    assert measure(runs) < CLOSE
    # They do something.
    assert find_worst(train_all(runs[:1]), train_all([replace(runs[0], clip_norm=1e3)])) > 1e-3


def drop(run: Run, share: float) -> Run:
    return replace(run, model=replace(run.model, args=run.model.args | {"dropout": share}))


@pytest.mark.parametrize(("precision", "close"), [("fp64", CLOSE), ("fp32", 1e-5), ("bf16", 3e-2)])
@pytest.mark.parametrize("model", few(["mlp, dropout", "gpt, dropout"]))
def test_shares_of_dropout_may_differ(model: str, precision: str, close: float) -> None:
    base = make(model, f"precision={precision}")
    shares = (0.1, 0.5, 0.2, 0.9)
    runs = [drop(run, share) for run, share in zip(vary(base, "adamw", 4), shares, strict=True)]
    assert len({find_shape(run) for run in runs}) == 1 != find_shape(drop(base, 0.0))
    together = train_all(runs)
    check_engine(together)
    assert find_worst(together, train_each(runs), is_all=precision != "bf16") < close
    if precision == "fp64":
        # Nor does it matter to a member whether the others' are its own.
        assert find_worst(together[1:2], train_all(runs[1:2])) == 0


def test_a_bound_on_the_gradient_is_no_bound_for_those_without() -> None:
    bounded = [replace(run, clip_norm=1e-3) for run in vary(make("mlp"), "sgd", 2)]
    free = vary(make("mlp"), "sgd", 2)
    # A door may still put them beside each other, with a bound that is never met.
    runs = [*bounded, *(replace(run, clip_norm=1e9) for run in free)]
    assert find_worst(train_all(runs)[2:], train_each(free)) < CLOSE


@pytest.mark.parametrize(("precision", "close"), [("fp32", 1e-5), ("bf16", 3e-2)])
@pytest.mark.parametrize("model", ["mlp, dropout", "cnn"])
def test_shorter_formats_are_as_close_as_they_round(model: str, precision: str, close: float) -> None:
    base = make(model, f"precision={precision}")
    runs = [*vary(base, "adamw", 2), *vary(base, "momentum", 2)]
    together, each = train_all(runs), train_each(runs)
    check_engine(together)
    assert find_worst(together, each, is_all=precision == "fp32") < close
    for one, other in zip(together, each, strict=True):
        assert one.formats is not None and one.formats == other.formats
        assert one.num_params == other.num_params and one.num_train_items == other.num_train_items


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", LRS)
def test_they_do_not_part_in_200_steps(name: str, model: str) -> None:
    num = 2 if "resnet" in model else 4
    runs = vary(make(model, steps=200), name, num)
    if (worst := measure(runs)) >= CLOSE:
        # Some trainings magnify: no further apart than runs by themselves that start a last digit apart.
        assert worst < max(max(move(run)) for run in runs)
