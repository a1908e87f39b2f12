"""The YAMLs for files of a user's own read them where their makers put them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from bench import build
from bench.configuration import VERSION
from bench.data.dataset import DataSet
from bench.errors import DataError, Unsupported
from bench.spec import Data

CONF = Path(__file__).parents[2] / "conf"
# As it was before any test changed it: a folder with real files, for those who have them.
REAL = os.environ.get("BENCH_DATA")
TEXT = b"To be, or not to be, that is the question:\n" * 200


def load(option: str, root: Path) -> DataSet:
    with hydra.initialize_config_dir(str(CONF), **VERSION):
        config: Any = OmegaConf.to_container(hydra.compose(f"data/{option}", [f"data.root={root}"]).data)
    words = {key: config.pop(key) for key in ("name", "version", "licence", "sha256", "item")}
    data = build.load_data(Data(target=config.pop("_target_"), args=config, **words), "cpu")
    assert data.item == words["item"]
    return data


def write_shards(folder: Path, train: str, val: str, header: bool) -> None:
    folder.mkdir(parents=True)
    tokens = np.arange(5000, dtype="<u2") * 10
    for name in (train, val):
        first = np.zeros(256, dtype="<i4")
        first[:3] = 20240520, 1, len(tokens)
        (folder / name).write_bytes((first.tobytes() if header else b"") + tokens.tobytes())


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))


def test_a_text_is_whatever_it_is(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_bytes(TEXT)
    data = load("text", tmp_path / "mine.txt")
    assert data.num_outputs == len(set(TEXT)) and data.input_shape == (256,)


def test_shakespeare_is_shakespeare(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "shakespeare_char"
    folder.mkdir(parents=True)
    (folder / "input.txt").write_bytes(TEXT)
    with pytest.raises(
        DataError, match=r"^data\.sha256: shakespeare decoded to [0-9a-f]{64}, the YAML names"
    ):
        load("shakespeare", tmp_path)


@pytest.mark.parametrize(
    ("option", "folder", "train", "val", "header"),
    [
        ("token_shards", "", "train.bin", "val.bin", False),
        ("fineweb", "fineweb10B", "fineweb_train_000001.bin", "fineweb_val_000000.bin", True),
        ("fineweb", "data/fineweb10B", "fineweb_train_000001.bin", "fineweb_val_000000.bin", True),
    ],
)
def test_shards_are_found_in_their_makers_layout(
    tmp_path: Path, option: str, folder: str, train: str, val: str, header: bool
) -> None:
    write_shards(tmp_path / "root" / folder, train, val, header)
    data = load(option, tmp_path / "root")
    assert (data.num_outputs, data.input_shape, data.num_val_rows) == (50304, (1024,), 4)
    inputs, targets = data.train_batch(0, 0, 2)
    assert isinstance(inputs, torch.Tensor)
    assert torch.equal(inputs + 10, targets)


@pytest.mark.parametrize(("option", "num_outputs"), [("shakespeare", 65), ("fineweb", 50304)])
def test_real_files_are_read_where_they_are(option: str, num_outputs: int) -> None:
    if REAL is None:
        pytest.skip(f"no folder with {option}'s files: BENCH_DATA names none")
    try:
        data = load(option, Path(REAL))
    except (Unsupported, DataError) as error:
        if "a folder without" not in str(error):
            raise
        pytest.skip(f"{option}: {error}")
    assert data.num_outputs == num_outputs
    assert data.train_batch(0, 0, 4)[1].max() < num_outputs
