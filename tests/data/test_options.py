"""Each YAML of conf/data/ builds the data it names, the same each time, without touching a global stream."""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from bench import build
from bench.configuration import VERSION
from bench.data.dataset import DataSet, Inputs
from bench.errors import BenchError, Unsupported
from bench.spec import Data
from tests.image_files import write_cifar_set, write_idx_set, write_pictures

CONF = Path(__file__).parents[2] / "conf"
OPTIONS = sorted(path.stem for path in (CONF / "data").glob("*.yaml"))


@functools.cache
def compose(option: str) -> dict[str, Any]:
    with hydra.initialize_config_dir(str(CONF), **VERSION):
        config: Any = OmegaConf.to_container(hydra.compose(f"data/{option}").data)
    return config  # type: ignore[no-any-return]


def read(option: str, **changes: Any) -> Data:
    config = copy.deepcopy(compose(option)) | changes
    words = {key: config.pop(key) for key in ("name", "version", "licence", "sha256", "item")}
    return Data(target=config.pop("_target_"), args=config, **words)


def tensors(inputs: Inputs) -> list[torch.Tensor]:
    """Return what a batch's inputs are made of."""
    if isinstance(inputs, torch.Tensor):
        return [inputs]
    return list(inputs.values() if isinstance(inputs, dict) else inputs)


@pytest.fixture(scope="module", autouse=True)
def _files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Write tiny sets where real ones are looked for, and keep what is slow to make for this file's tests."""
    folder = tmp_path_factory.mktemp("data")
    write_idx_set(folder / "MNIST" / "raw", num_train=120)
    write_cifar_set(folder / "cifar-10-batches-py")
    write_cifar_set(folder / "cifar-100-python", num_classes=100, num_rows=10)
    write_pictures(folder / "pictures")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_DATA", str(folder))
        patch.setenv("BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module", params=OPTIONS)
def option(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def data(option: str) -> DataSet:
    try:
        return build.load_data(read(option), "cpu")
    except Unsupported as error:
        # Files that no package may ship, or a package that is an extra: the line says which.
        pytest.skip(str(error))


def test_there_are_options() -> None:
    assert {"digits", "gaussian", "photo"} <= set(OPTIONS)


def test_the_yaml_says_what_the_data_say(option: str, data: DataSet) -> None:
    spec = read(option)
    assert spec.item == data.item
    assert spec.sha256 in (None, data.sha256)
    assert all("\n" not in line for line in data.describe().values())


def test_batches_fit_the_shapes_they_promise(data: DataSet) -> None:
    batches = [data.train_batch(0, 0, 4), next(iter(data.val_batches("search")))]
    for inputs, targets in batches:
        for tensor in tensors(inputs):
            assert len(tensor) == len(targets)
            assert tensor.dtype == (torch.int64 if data.input_kind == "tokens" else torch.float32)
            assert tensor.isfinite().all()
        assert data.input_shape in {tuple(tensor.shape[1:]) for tensor in tensors(inputs)}
        assert data.count_items(targets) == len(targets) * data.items_per_row
        if targets.dtype == torch.float32:
            assert targets[0].numel() == data.num_outputs and targets.isfinite().all()
        else:
            assert targets.dtype == torch.int64
            assert targets.min() >= 0 and targets.max() < data.num_outputs


def test_halves_of_the_validation_rows_are_all_of_them(data: DataSet) -> None:
    halves = [sum(len(targets) for _, targets in data.val_batches(part)) for part in ("search", "report")]
    assert sum(halves) == data.num_val_rows and min(halves) > 0
    assert abs(halves[0] - halves[1]) <= max(1, data.num_val_rows // 100)


def test_it_is_the_same_each_time_and_draws_nothing_global(option: str, data: DataSet) -> None:
    spec = read(option)
    torch_before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    again = build.locate(spec.target, "data._target_")(**spec.args)
    pairs = [(data.train_batch(1, 2, 4), again.train_batch(1, 2, 4))]
    pairs.append((next(iter(data.val_batches("report"))), next(iter(again.val_batches("report")))))
    assert torch.equal(torch.get_rng_state(), torch_before)
    assert np.array_equal(np.random.get_state()[1], numpy_before)
    for (inputs, targets), (other_inputs, other_targets) in pairs:
        assert torch.equal(targets, other_targets)
        for one, other in zip(tensors(inputs), tensors(other_inputs), strict=True):
            assert torch.equal(one, other)


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
    ("mnist1d", "val_share", 0.0),
    ("mnist1d", "split_seed", -1),
    ("digits_noised", "val_share", 1.0),
    ("digits_noised", "val_draws", 0),
    ("digits_noised", "noise_seed", -1),
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
