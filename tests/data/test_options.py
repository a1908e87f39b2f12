"""Each YAML of conf/data/ builds the data it names, the same each time, without touching a global stream."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hydra
import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from bench import build
from bench.configuration import VERSION
from bench.data.arrays import Arrays
from bench.errors import BenchError
from bench.spec import Data

CONF = Path(__file__).parents[2] / "conf"
OPTIONS = sorted(path.stem for path in (CONF / "data").glob("*.yaml"))


def read(option: str, **changes: Any) -> Data:
    with hydra.initialize_config_dir(str(CONF), **VERSION):
        config: Any = OmegaConf.to_container(hydra.compose(f"data/{option}").data)
    config |= changes
    words = {key: config.pop(key) for key in ("name", "version", "licence", "sha256", "item")}
    return Data(target=config.pop("_target_"), args=config, **words)


@pytest.fixture(scope="module", params=OPTIONS)
def option(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def data(option: str) -> Arrays:
    return build.load_data(read(option), "cpu")


def test_there_are_options() -> None:
    assert {"digits", "gaussian", "photo"} <= set(OPTIONS)


def test_the_yaml_says_what_the_arrays_say(option: str, data: Arrays) -> None:
    spec = read(option)
    assert (spec.item, spec.sha256) == (data.item, data.sha256)


def test_sides_fit_each_other(data: Arrays) -> None:
    for inputs, targets in ((data.train_inputs, data.train_targets), (data.val_inputs, data.val_targets)):
        assert inputs.dtype == torch.float32 and inputs.shape[1:] == data.input_shape
        assert inputs.is_contiguous() and inputs.isfinite().all()
        if data.task == "regression":
            assert targets.dtype == torch.float32 and targets.shape == (len(inputs), data.num_outputs)
        else:
            assert targets.dtype == torch.int64 and targets.shape == (len(inputs),)
            assert set(targets.tolist()) == set(range(data.num_outputs))


def test_it_is_the_same_each_time_and_draws_nothing_global(option: str, data: Arrays) -> None:
    spec = read(option)
    torch_before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    again = build.locate(spec.target, "data._target_")(**spec.args)
    assert torch.equal(torch.get_rng_state(), torch_before)
    assert np.array_equal(np.random.get_state()[1], numpy_before)
    for name in ("train_inputs", "train_targets", "val_inputs", "val_targets"):
        assert torch.equal(getattr(again, name), getattr(data, name))


BAD = [
    ("photo", "stride", 0),
    ("photo", "coordinate_range", [1.0, 0.0]),
    ("photo", "num_frequencies", 0),
    ("photo", "frequency_sd", 0.0),
    ("photo", "frequency_seed", -1),
    ("photo", "val_share", 0.0),
    ("photo", "val_share", 1.0),
    ("photo", "val_share", 1e-9),
    ("photo", "split_seed", -1),
    ("digits", "val_share", 1.0),
    ("digits", "val_share", 0.0),
    ("gaussian", "num_features", 0),
    ("gaussian", "num_train", 0),
    ("gaussian", "num_train", 2**18),
    ("gaussian", "num_val", 0),
    ("gaussian", "noise", -1.0),
    ("gaussian", "seed", -1),
]


@pytest.mark.parametrize(("option", "key", "value"), BAD)
@pytest.mark.parametrize("is_through_builder", [True, False], ids=["builder", "direct"])
def test_a_bad_argument_is_one_line_that_names_its_key(
    option: str, key: str, value: object, is_through_builder: bool
) -> None:
    spec = read(option, **{key: value})
    with pytest.raises(BenchError, match=rf"^data\.{key}: wants .*, got ") as caught:
        if is_through_builder:
            build.load_data(spec, "cpu")
        else:
            build.locate(spec.target, "data._target_")(**spec.args)
    assert "\n" not in str(caught.value)
