"""On a GPU no step makes the host wait for the device: torch itself is asked to refuse."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest
import torch

from bench.meter.cell import make_cell
from bench.spec import Precision
from tests.composing import compose_run


@pytest.fixture(autouse=True)
def _allowed_again() -> Iterator[None]:
    yield
    torch.cuda.set_sync_debug_mode("default")


@pytest.mark.gpu
@pytest.mark.parametrize("workload", ["photo_mlp", "kjv_gpt"])
@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_step_never_waits(workload: str, name: str, precision: str) -> None:
    run = compose_run(f"optimizer={name}", workload=workload)
    run = msgspec.structs.replace(run, device="cuda", precision=Precision(name=precision))
    cell = make_cell(run)
    # First steps make state and choose kernels, an epoch's first moves the order of the rows.
    cell.arm.take(5)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    cell.arm.take(5)
