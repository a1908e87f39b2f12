"""What is varied is checked before anything runs, and a setting is put into a study without loosening it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.effort import Dimension
from bench.errors import SpecError
from bench.search.space import LR, apply, declared, make_space, round_digits
from bench.spec import Study
from tests.sweeps import make_tuned_study

DECAY = Dimension(low=1e-4, high=1.0, log=True)
BETA = Dimension(low=1e-3, high=0.3, log=True, is_complement=True)


def make(
    name: str = "lr", sampler: str = "gp", space: dict[str, Dimension] | None = None, **own: Any
) -> Study:
    study = make_tuned_study("adamw", name=name, sampler=sampler, space=space or {})
    search = msgspec.structs.replace(study.optimizer.search, weight_decay=DECAY, full={"betas[0]": BETA})
    optimizer = msgspec.structs.replace(study.optimizer, **{"search": search, **own})
    model = msgspec.structs.replace(study.model, args={"width": 64, "dropout": 0.0, "bias": True})
    return msgspec.structs.replace(study, optimizer=optimizer, model=model)


def test_each_search_varies_what_the_one_before_does_and_more() -> None:
    lr = Dimension(low=1e-5, high=1e-1, log=True)
    assert make_space(make("none")) == {}
    assert make_space(make("lr")) == {LR: lr}
    assert make_space(make("lr_wd")) == {LR: lr, "optimizer.weight_decay": DECAY}
    assert make_space(make("full")) == make_space(make("lr_wd")) | {"optimizer.betas[0]": BETA}


def test_a_class_without_weight_decay_varies_its_lr() -> None:
    study = make("lr_wd")
    search = msgspec.structs.replace(study.optimizer.search, weight_decay=None)
    study = msgspec.structs.replace(study, optimizer=msgspec.structs.replace(study.optimizer, search=search))
    assert list(make_space(study)) == [LR]


def test_a_number_as_lr_stays_unless_the_space_names_it() -> None:
    assert make_space(make(lr=0.01)) == {}
    assert make_space(make("lr_wd", lr=0.01)) == {"optimizer.weight_decay": DECAY}
    mine = Dimension(low=0.001, high=0.1, log=True)
    assert make_space(make(lr=0.01, space={LR: mine})) == {LR: mine}
    assert declared(make(lr=0.01), {LR: mine}) == {LR: 0.01}


def test_the_users_space_replaces_and_adds() -> None:
    mine = {
        "optimizer.weight_decay": Dimension(choices=(0.0, 0.1)),
        "model.dropout": Dimension(low=0, high=0.5),
    }
    space = make_space(make("lr_wd", space=mine))
    assert {key: space[key] for key in mine} == mine
    assert list(space) == [LR, "optimizer.weight_decay", "model.dropout"]


@pytest.mark.parametrize(
    ("key", "dimension", "message"),
    [
        (LR, {"low": 0.1, "high": 0.01}, ": wants low < high, got 0.1 and 0.01"),
        (LR, {"low": 0.1, "high": 0.1}, ": wants low < high, got 0.1 and 0.1"),
        (LR, {"low": 0.0, "high": 0.1, "log": True}, ".low: wants a number > 0 on a log scale, got 0"),
        (LR, {"choices": []}, ".choices: wants one or more values, got none"),
        (LR, {}, ": wants low and high, or choices, got neither"),
        (LR, {"low": 0.1}, ": wants low and high, or choices, got neither"),
        (LR, {"low": 0.1, "high": 1, "choices": [1]}, ": wants low and high, or choices, got both"),
        (LR, {"low": -1.0, "high": 1.0}, ": wants a number > 0 or 'auto', got -1.0"),
        (LR, {"choices": [0.1, "big"]}, ": wants a number > 0 or 'auto', got 'big'"),
        (
            LR,
            {"low": 0.1, "high": 0.2, "is_complement": True},
            ": wants an interval of the lr itself, got is_complement",
        ),
        ("optimizer.lrr", {"choices": [1]}, ": no such key; did you mean 'optimizer.lr'?"),
        ("optimizer.eps", {"choices": [1]}, ": no such key; did you mean 'optimizer.lr'?"),
        ("model.droput", {"choices": [0.1]}, ": no such key; did you mean 'model.dropout'?"),
        ("optimizer.betas[2]", {"choices": [1]}, ": no such key; did you mean 'optimizer.betas[1]'?"),
        ("optimizer.name", {"choices": ["x"]}, ": no such key; did you mean 'optimizer.lr'?"),
        ("seeds.num", {"choices": [3]}, ": no such key"),
        ("clip_norm", {"low": -1, "high": 1}, ": wants a number > 0 or null, got -1.0"),
        ("budget.steps", {"low": 0, "high": 100}, ": wants a whole number >= 1, got 0"),
        ("schedule.warmup", {"low": 0.5, "high": 1.5}, ": wants a number >= 0 and < 1, got 1.5"),
        ("schedule.name", {"choices": ["cosin"]}, None),
    ],
)
def test_every_mistake_is_one_line_with_its_place(key: str, dimension: Any, message: str | None) -> None:
    study = make(space={key: msgspec.convert(dimension, Dimension)})
    with pytest.raises(SpecError) as caught:
        make_space(study)
    assert "\n" not in str(caught.value)
    if message is None:
        assert str(caught.value).endswith("got 'cosin'; did you mean 'cosine'?")
    else:
        assert str(caught.value) == f"search.space.{key}{message}"


def test_the_optimizers_own_ranges_are_checked_too() -> None:
    study = make("full")
    search = msgspec.structs.replace(study.optimizer.search, full={"beta": Dimension(choices=(0.9,))})
    study = msgspec.structs.replace(study, optimizer=msgspec.structs.replace(study.optimizer, search=search))
    with pytest.raises(SpecError, match=r"^optimizer\.search\.full\.beta: no such key"):
        make_space(study)


def test_a_grid_wants_lists_beside_lr() -> None:
    with pytest.raises(
        SpecError, match=r"^optimizer\.search\.weight_decay: wants choices under search\.sampler"
    ):
        make_space(make("lr_wd", "grid"))
    listed = {"optimizer.weight_decay": Dimension(choices=(0.0, 0.1))}
    assert len(make_space(make("lr_wd", "grid", listed))) == 2


def test_what_is_declared_lies_inside_the_space() -> None:
    study = make(
        "full", space={"model.width": Dimension(low=16, high=32), "clip_norm": Dimension(low=1, high=5)}
    )
    assert declared(study, make_space(study)) == {
        LR: 1e-3,
        "optimizer.weight_decay": 0.01,
        "optimizer.betas[0]": 0.9,
        "model.width": 32,
        "clip_norm": 1,
    }
    narrow = {
        LR: Dimension(low=0.01, high=0.1),
        "optimizer.betas[0]": Dimension(low=0.2, high=0.3, is_complement=True),
        "schedule.name": Dimension(choices=("linear", "constant")),
    }
    assert declared(study, narrow) == {LR: 0.01, "optimizer.betas[0]": 0.8, "schedule.name": "linear"}
    assert type(declared(study, make_space(study))["model.width"]) is int


def test_a_setting_goes_where_its_key_says() -> None:
    study = make()
    changed = apply(
        study,
        {
            LR: 0.02, "optimizer.weight_decay": 0.3, "optimizer.betas[0]": 0.5, "model.dropout": 0.25,
            "model.width": 32.0, "model.bias": False, "clip_norm": 1, "schedule.warmup": 0.2,
            "budget.steps": 7.0,
        },
    )  # fmt: skip
    assert (changed.optimizer.lr, changed.optimizer.weight_decay) == (0.02, 0.3)
    assert changed.optimizer.args == {"betas": [0.5, 0.999]}
    assert changed.model.args == {"width": 32, "dropout": 0.25, "bias": False}
    assert type(changed.model.args["width"]) is type(changed.budget.steps) is int
    assert (changed.clip_norm, changed.schedule.warmup, changed.budget.steps) == (1.0, 0.2, 7)
    assert study == make(), "the study itself is as it was"


@pytest.mark.parametrize(
    ("key", "value"), [(LR, -1.0), ("clip_norm", 0.0), ("budget.steps", 1.5), ("schedule.name", "steep")]
)
def test_a_setting_is_held_to_the_bounds(key: str, value: Any) -> None:
    with pytest.raises(SpecError, match=rf"^{key}: wants "):
        apply(make(), {key: value})
    with pytest.raises(
        SpecError, match=r"^optimizer\.beta: no such key; did you mean 'optimizer\.betas\[\d\]'\?$"
    ):
        apply(make(), {"optimizer.beta": 0.5})


@given(
    lr=st.floats(1e-9, 1e3),
    decay=st.floats(0, 10),
    beta=st.floats(0, 1),
    warmup=st.floats(0, 1, exclude_max=True),
)
def test_applying_sets_these_values_and_no_others(
    lr: float, decay: float, beta: float, warmup: float
) -> None:
    study = make()
    params = {LR: lr, "optimizer.weight_decay": decay, "optimizer.betas[1]": beta, "schedule.warmup": warmup}
    changed = apply(study, params)
    space = {key: Dimension(low=-1e9, high=1e9) for key in params}
    assert declared(changed, space) == params
    back = apply(changed, declared(apply(study, {LR: 1.0}), space))
    assert back == apply(study, {LR: 1.0})
    assert apply(study, {}) == study


@given(st.floats(min_value=1e-300, max_value=1e300))
def test_rounding_is_close_and_final(value: float) -> None:
    rounded = round_digits(value)
    assert abs(rounded - value) <= 1e-11 * value
    assert round_digits(rounded) == rounded
