"""Twenty steps of every model, kept: a refactor may not move them, and who moves them raises `NUMERICS`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.identity import NUMERICS
from bench.train import train
from tests.composing import compose_run
from tests.records import MACHINE

FILE = Path(__file__).parent / "curves.json"
CASES = [
    ("photo_mlp", "adamw", ()),
    ("photo_mlp", "sgd", ("model.dropout=0.2",)),
    ("digits_mlp", "momentum", ()),
    ("digits_cnn", "adam", ("clip_norm=1.0",)),
    ("gaussian_mlp", "adam", ("schedule=linear", "schedule.interval=epoch")),
    ("tutorial_decay", "adamw", ("schedule=constant",)),
]


def name_case(case: tuple[str, str, tuple[str, ...]]) -> str:
    workload, optimizer, overrides = case
    return " ".join([workload, optimizer, *overrides])


def draw(case: tuple[str, str, tuple[str, ...]]) -> list[float]:
    """Return the training loss of each of twenty steps, and the validation loss after them."""
    workload, optimizer, overrides = case
    run = compose_run(
        f"optimizer={optimizer}", "budget.steps=20", "budget.evaluations=20", *overrides, workload=workload
    )
    curve = train(run, MACHINE)[0].curve
    return [loss for loss in (*curve.train_loss[1:], curve.val_loss[-1]) if loss is not None]


@pytest.mark.parametrize("case", CASES, ids=name_case)
def test_a_curve_has_not_moved(case: tuple[str, str, tuple[str, ...]]) -> None:
    kept = json.loads(FILE.read_text())
    assert kept["numerics"] == NUMERICS
    # Other processors sum in another order: the last digits are theirs, the curve is ours.
    assert draw(case) == pytest.approx(kept["curves"][name_case(case)], rel=2e-4)


def test_every_kept_curve_is_drawn() -> None:
    assert set(json.loads(FILE.read_text())["curves"]) == {name_case(case) for case in CASES}


if __name__ == "__main__":
    # `python -m tests.golden.test_curves` writes them anew.
    curves = {name_case(case): [float(f"{loss:.9g}") for loss in draw(case)] for case in CASES}
    FILE.write_text(json.dumps({"numerics": NUMERICS, "curves": curves}, indent=1) + "\n")
