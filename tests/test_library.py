"""The library door: a module and tensors of one's own, in ten lines, answered like any workload."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

# The door itself too, so that what it imports is there before the first measurement.
import bench
import bench.library
from bench.errors import SpecError
from tests.report.conftest import undrawn
from tests.test_forward import HubModel, Sentences

QUICK = (
    "seeds=3",
    "search.trials=3",
    "search.confirm=0",
    "search.widen=false",
    "meter.seconds=0.02",
    "meter.warmup_steps=3",
)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.Linear(16, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


class Signed(torch.optim.SGD):
    """A class of one's own."""

    def __init__(self, params, lr: float = 0.05) -> None:  # type: ignore[no-untyped-def]
        super().__init__(params, lr=lr)


def make_data() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(300, 5, generator=generator)
    return x, (x[:, 0] > 0).long() + (x[:, 1] > 0).long()


def test_ten_lines_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    overrides = [*QUICK, f"place.results={tmp_path / 'results'}"]
    comparison = bench.compare(Net(), make_data(), ["adamw", "sgd", Signed], steps=30, overrides=overrides)
    assert sorted(comparison.results["optimizer"]) == ["adamw", "sgd", "signed"]
    assert (comparison.results["num_ok"] == 3).all()
    assert len(comparison.runs) >= 9
    assert (comparison.folder / "report.html").exists()
    assert "mine" in comparison.summary
    assert "search: 9 runs in 3 studies; 0 cached" in capsys.readouterr().err

    lines: list[str] = []
    with undrawn():
        again = bench.compare(
            Net(), make_data(), ["adamw", "sgd", Signed], steps=30, overrides=overrides, say=lines.append
        )
    assert again.folder == comparison.folder
    assert not [line for line in lines if line.startswith("[")]


def test_weights_are_drawn_anew_for_each_seed_and_other_weights_are_another_model() -> None:
    from bench.held import digest_model, make_again

    make = make_again(Net())
    torch.manual_seed(1)
    one = make().layers[0].weight
    torch.manual_seed(2)
    two = make().layers[0].weight
    assert not torch.equal(one, two)
    assert digest_model(make) == digest_model(make_again(Net()))
    assert digest_model(lambda: nn.Linear(5, 3)) != digest_model(lambda: nn.Linear(5, 4))


def test_mistakes_are_one_line() -> None:
    x, y = make_data()
    with pytest.raises(SpecError, match="as many targets as inputs, got 299 and 300"):
        bench.compare(Net(), (x, y[:-1]), ["sgd"])

    class Local(torch.optim.SGD): ...

    with pytest.raises(SpecError, match="defined inside a function"):
        bench.compare(Net(), (x, y), [Local])

    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(3))

    with pytest.raises(SpecError, match="no reset_parameters"):
        bench.compare(Bare(), (x, y), ["sgd"])


def test_a_hub_style_model_and_dict_batches_are_compared(tmp_path: Path) -> None:
    comparison = bench.compare(
        HubModel,
        Sentences(),
        ["adamw", "sgd"],
        name="sentences",
        steps=40,
        batch_size=16,
        overrides=[f"place.results={tmp_path}", "seeds=3", "search=none", "meter=none"],
    )
    results = comparison.results.set_index("optimizer")
    assert results.loc["adamw", "val_loss_mean"] < 2.4
    assert set(comparison.runs["status"]) == {"finished"}
