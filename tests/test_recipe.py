"""The recipe to start a training with: what it composes to, and that it trains in either 16-bit format."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bench.resolve import name_precision
from bench.train import train
from tests.commands import read_sweep, run_bench
from tests.composing import compose_run, compose_study
from tests.records import MACHINE


def test_it_composes_to_what_it_promises() -> None:
    study = compose_study("experiment=recipe", workload="digits_mlp")
    run = compose_run("experiment=recipe", workload="digits_mlp")
    assert (run.optimizer.name, run.schedule.name, run.clip_norm) == ("adamw", "cosine", 1.0)
    assert study.report.health is not None and study.report.health.gradient_norm == 5.0
    assert run.precision.name == "bf16" and run.watch.name == "light"
    assert name_precision(study.precision, "cuda").name == "fp16"


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_it_trains_on_a_cpu(precision: str) -> None:
    """In fp16 a CPU computes slowly what a GPU does: autocast, scaler, clipping of what it unscaled."""
    # Tight enough to bind.
    words = (f"precision={precision}", "budget.steps=300", "clip_norm=0.1")
    run = compose_run("experiment=recipe", *words, workload="digits_mlp")
    result, _ = train(run, MACHINE)
    assert result.status == "finished" and result.detail is None
    assert result.val_loss is not None and result.val_loss < 0.3
    assert result.formats is not None and result.watch is not None
    dtype = {"bf16": "bfloat16", "fp16": "float16"}[precision]
    assert (result.formats.autocast, result.formats.weights) == (dtype, ("float32",))
    assert result.watch.clipped_share is not None and 0 < result.watch.clipped_share < 1
    # A factor of two, doubled or halved.
    scales = result.watch.loss_scale
    assert bool(scales) == (precision == "fp16") and all(scale.is_integer() for scale in scales)
    # Of the true gradient, not of the scaled one.
    assert all(norm is not None and norm < 50 for norms in result.watch.gradient_norm for norm in norms)


@pytest.mark.gpu
def test_it_is_one_command_on_a_gpu(tmp_path: Path) -> None:
    assert torch.cuda.is_available()
    words = (
        "experiment=recipe",
        "workload=digits_mlp",
        "device=cuda",
        "search=none",
        "seeds=1",
        "meter=none",
    )
    done = run_bench(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    [[result]] = read_sweep(tmp_path / "results").results
    assert result.formats is not None and result.formats.autocast == "float16"
    assert result.watch is not None and len(result.watch.loss_scale) == len(result.watch.step)
    assert result.val_loss is not None and result.val_loss < 0.3
