"""The workloads that want a GPU, or files of the reader's, start: each on tiny files in the real formats."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from bench import build
from bench.errors import Unsupported
from bench.train import train
from tests.composing import compose_run, compose_study
from tests.contract.members import list_members
from tests.contract.test_workloads import LIGHT
from tests.image_files import write_cifar_set, write_pictures
from tests.records import MACHINE
from tests.tiers import few

# A few rows of it at a time, on a machine without an accelerator: the same code, fewer numbers.
SMALL = {
    "fmnist_2c2d": ("model.width=4", "model.dense_width=16"),
    "fmnist_resnet18": ("model.width=4",),
    "cifar10_resnet18": ("model.width=4",),
    "cifar100_resnet18": ("model.width=4",),
    "cifar10_vit": ("model.width=16", "model.depth=1"),
    "shakespeare_char": ("model.width=24", "model.depth=1", "data.sha256=null"),
    "sympy_gpt": ("model.width=24", "model.depth=1", "data.num_val_tokens=1024"),
    "fineweb_gpt": ("model.width=24", "model.depth=1", "data.length=16", "data.num_val_tokens=64"),
    "fineweb_gpt_short": ("model.width=24", "model.depth=1", "data.length=16", "data.num_val_tokens=64"),
    "imagenet_resnet50": ("model.width=4", "data.num_classes=null", "data.image_size=64"),
    "imagenet_vit": ("model.width=12", "model.depth=1", "data.num_classes=null"),
}


@pytest.fixture(scope="module", autouse=True)
def _files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("data")
    write_cifar_set(folder / "cifar-10-batches-py")
    write_cifar_set(folder / "cifar-100-python", num_classes=100, num_rows=10)
    write_pictures(folder / "imagenet")
    (folder / "tinyshakespeare").mkdir()
    text = "".join(chr(97 + (place * place) % 26) for place in range(8000))
    (folder / "tinyshakespeare" / "input.txt").write_text(text)
    (folder / "fineweb10B").mkdir()
    for name in ("fineweb_train_000001", "fineweb_train_000002", "fineweb_val_000000"):
        tokens = np.arange(600, dtype="<u2") * 77 % 50257
        header = struct.pack("<3i", 20240520, 1, len(tokens)).ljust(1024, b"\0")
        (folder / "fineweb10B" / f"{name}.bin").write_bytes(header + tokens.tobytes())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_DATA", str(folder))
        patch.setenv("BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        # What is decoded here must not answer for real files in other tests of this process.
        patch.setattr(build, "_data_sets", {})
        yield


@pytest.mark.parametrize("name", few(sorted(set(list_members("workload")) - set(LIGHT)), 2))
def test_it_starts_on_tiny_files(name: str) -> None:
    run = compose_run(
        "budget.steps=2", "budget.batch_size=4", "budget.evaluations=1", *SMALL[name], workload=name
    )
    try:
        build.load_data(run.data, "cpu")
    except Unsupported as error:
        pytest.skip(str(error))
    result, _ = train(run, MACHINE)
    assert result.status == "finished", result.detail
    assert result.num_steps == 2 and result.val_loss is not None


@pytest.mark.parametrize(
    ("name", "input_shape", "num_outputs", "num_params"),
    [
        ("fineweb_gpt", (1024,), 50304, 163_109_376),
        ("imagenet_resnet50", (3, 224, 224), 1000, 25_557_032),
        ("imagenet_vit", (3, 224, 224), 1000, 22_050_664),
        ("cifar10_resnet18", (3, 32, 32), 10, 11_173_962),
    ],
)
def test_its_model_is_of_full_size(
    name: str, input_shape: tuple[int, ...], num_outputs: int, num_params: int
) -> None:
    spec = compose_study(workload=name).model
    cls = build.locate(spec.target, "model._target_")
    with torch.device("meta"):
        model = cls(input_shape, num_outputs, **spec.args)
    assert sum(parameter.numel() for parameter in model.parameters()) == num_params


def test_absent_files_are_a_row_and_never_another_data_set(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_DATA", str(tmp_path))
        result, _ = train(compose_run(workload="fineweb_gpt"), MACHINE)
    assert result.status == "unsupported" and result.detail is not None
    assert result.detail.startswith("not run: wants fineweb_train_*.bin")
