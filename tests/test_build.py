"""Import paths and arguments are checked before anything runs, each mistake in one line."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import torch

from bench import build
from bench.errors import BuildError, DataError, Unsupported
from bench.spec import Data, Model
from tests.records import make_optimizer, make_run

RUN = make_run()
replace = msgspec.structs.replace


def refuse(run: Any, line: str) -> None:
    with pytest.raises(BuildError) as caught:
        build.check(run)
    assert line in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("target", "line"),
    [
        ("torch.optim.AdamX", "optimizer._target_: torch.optim has no 'AdamX'; did you mean 'Adam"),
        ("torch.nn.Linear", "optimizer._target_: wants a torch.optim.Optimizer class, got torch.nn.Linear"),
        ("nowhere.at.All", "optimizer._target_: can't import nowhere.at.All"),
    ],
)
def test_optimizer_paths(target: str, line: str) -> None:
    refuse(replace(RUN, optimizer=make_optimizer(target)), line)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"args": {"momentun": 0.9}}, "optimizer.momentun: no such argument; did you mean 'momentum'?"),
        ({"args": {"momentum": "high"}}, "optimizer.momentum: wants a number"),
        ({"args": {"nesterov": 1.5}}, "optimizer.nesterov: wants true or false, got 1.5"),
    ],
)
def test_optimizer_arguments(changes: dict[str, Any], line: str) -> None:
    refuse(replace(RUN, optimizer=make_optimizer(**changes)), line)


def test_an_implementation_that_does_not_exist_is_refused() -> None:
    refuse(
        replace(RUN, optimizer=make_optimizer("torch.optim.RMSprop", impl="fused")),
        "optimizer.impl: torch.optim.RMSprop has no fused implementation",
    )


@pytest.mark.parametrize(
    ("args", "line"),
    [
        ({"width": 1.5}, "model.width: wants a whole number >= 1, got 1.5"),
        ({"width": 0}, "model.width: wants a whole number >= 1, got 0"),
        ({"witdh": 8}, "model.witdh: no such argument; did you mean 'width'?"),
        ({"activation": "rleu"}, "did you mean 'relu'?"),
        ({"dropout": 1.0}, "model.dropout: wants a number"),
    ],
)
def test_model_arguments(args: dict[str, Any], line: str) -> None:
    refuse(replace(RUN, model=replace(RUN.model, args=RUN.model.args | args)), line)


def test_a_missing_argument_is_named() -> None:
    refuse(replace(RUN, model=replace(RUN.model, args={"depth": 1})), "model.width: missing")


def test_data_that_is_not_the_one_meant_is_refused() -> None:
    with pytest.raises(
        DataError, match=r"^data\.sha256: gaussian decoded to [0-9a-f]{64}, the YAML names 0{64}"
    ):
        build.load_data(replace(RUN.data, sha256="0" * 64), "cpu")


def test_a_model_that_does_not_fit_says_so() -> None:
    args = RUN.model.args | {
        "kernel_size": 3,
        "first_kernel_size": None,
        "is_last_pooled": False,
        "dense_width": None,
    }
    del args["shrink"]
    cnn = Model(target="bench.model.cnn.Cnn", name="cnn", args=args)
    data = build.load_data(RUN.data, "cpu")
    with pytest.raises(Unsupported, match="does not fit: cnn takes image, gaussian gives features"):
        build.build_model(replace(RUN, model=cnn), data)


def test_arguments_reach_the_optimizer_typed() -> None:
    spec = make_optimizer(
        "torch.optim.AdamW", lr=1, weight_decay=0.0, impl="fused", args={"betas": [0.9, 0.99]}
    )
    data = build.load_data(RUN.data, "cpu")
    optimizer = build.build_optimizer(spec, build.build_model(RUN, data))
    group = optimizer.param_groups[0]
    assert group["betas"] == (0.9, 0.99) and group["lr"] == 1.0 and group["weight_decay"] == 0.0
    assert group["fused"] is True


def test_weights_depend_on_the_seed_alone() -> None:
    data = build.load_data(RUN.data, "cpu")
    torch.manual_seed(123)
    before = torch.random.get_rng_state()
    one = build.build_model(RUN, data).state_dict()
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.rand(5)
    two = build.build_model(RUN, data).state_dict()
    other = build.build_model(replace(RUN, seed=1), data).state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_foreign_modules_build_too() -> None:
    model = Model(target="torch.nn.Linear", name="linear", args={"in_features": 4, "out_features": 1})
    data = build.load_data(RUN.data, "cpu")
    built = build.build_model(replace(RUN, model=model), data)
    assert isinstance(built, torch.nn.Linear) and built.weight.shape == (1, 4)


def test_a_data_path_must_make_arrays() -> None:
    spec = Data(target="builtins.dict", name="x", version="1", licence="x", sha256=None, item="x")
    with pytest.raises(BuildError, match=r"^data\._target_: "):
        build.load_data(spec, "cpu")
