"""The probes name a model that can't learn and labels that mean nothing, and are silent of healthy ones."""

from __future__ import annotations

import msgspec
import pytest
import torch

from bench import build
from bench.data.arrays import Arrays
from bench.probes import probe
from bench.spec import Run
from tests.composing import compose_run
from tests.records import make_run


@pytest.mark.parametrize("workload", ["digits_mlp", "gaussian_mlp", "photo_mlp", "quadratic"])
def test_a_healthy_model_is_left_in_peace(workload: str) -> None:
    assert list(probe(compose_run("precision=fp32", workload=workload))) == []


def test_a_model_that_no_gradient_gets_through_is_named() -> None:
    deep = compose_run("model.depth=20", "model.activation=sigmoid", "precision=fp32", workload="digits_mlp")
    found = [str(one) for one in probe(deep)]
    assert any(one.startswith("warning: 8 rows are not learned by heart") for one in found), found


def test_a_loss_far_from_that_of_no_output_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    build_model = build.build_model

    def enlarge(run: Run, data: Arrays) -> torch.nn.Module:
        model = build_model(run, data)
        with torch.no_grad():
            list(model.parameters())[-2].mul_(60)
        return model

    monkeypatch.setattr(build, "build_model", enlarge)
    found = [str(one) for one in probe(compose_run("precision=fp32", workload="digits_mlp"))]
    assert any("that of outputs that are 0 is 2.3" in one for one in found), found


def test_labels_of_other_rows_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    load_data = build.load_data

    def shuffle(spec: object, device: str) -> Arrays:
        data = load_data(spec, device)  # type: ignore[arg-type]
        assert isinstance(data, Arrays)
        order = torch.randperm(data.num_train_rows, generator=torch.Generator().manual_seed(0))
        data.train_targets = data.train_targets[order]
        return data

    monkeypatch.setattr(build, "load_data", shuffle)
    found = [str(one) for one in probe(compose_run("precision=fp32", workload="digits_mlp"))]
    assert any("with shuffled ones" in one for one in found), found


def test_a_step_that_takes_long_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.probes._MAX_S", 1e-9)
    (one,) = probe(msgspec.structs.replace(make_run()))
    assert one.severity == "note" and "no probe was trained" in one.advice
