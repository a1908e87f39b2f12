"""A range test is drawn with what it suggests, and the tuning table says how far that was off."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pandas as pd
import pytest

from bench.effort import RangeTest
from bench.report.build import build, default_sections
from tests.sweeps import make_search, make_tuned_study, write_sweep

pytestmark = pytest.mark.usefixtures("undrawn_module")

LRS = tuple(10 ** (index / 4 - 6) for index in range(25))
TRIED = {lr: [0.01 + abs(lr - 1e-3)] * 3 for lr in (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)}
ENDS: list[float | str] = [0.010, 0.011, 0.012]


def make_test(suggested: float | None = 1e-2) -> RangeTest:
    losses = tuple(2.3 if index < 14 else 2.3 - 0.1 * (index - 14) for index in range(24))
    return RangeTest(
        runs=("a", "b"),
        lrs=LRS,
        # The second seed diverged at the end.
        losses=((*losses, 9e9), (*losses, None)),
        num_steps=100,
        suggested=suggested,
        low=None if suggested is None else 1e-3,
        high=None if suggested is None else 1e-1,
    )


def test_a_range_test_is_a_figure_and_a_column(tmp_path: Path) -> None:
    studies = [make_tuned_study(name) for name in ("adamw", "sgd")]
    searches = [
        msgspec.structs.replace(make_search(study, tried=TRIED), range_test=test)
        for study, test in zip(studies, (make_test(), make_test(None)), strict=True)
    ]
    folder = write_sweep(tmp_path / "results", [(study, ENDS) for study in studies], search=searches)
    build(folder, default_sections(), None)
    assert "could not be written" not in (folder / "report.md").read_text()
    rows = pd.read_csv(folder / "tables" / "tuning_photo_mlp.csv").set_index("optimizer")
    assert rows["range_test_decades"]["adamw"] == pytest.approx(1.0)
    assert pd.isna(rows["range_test_decades"]["sgd"])
    html = (folder / "report.html").read_text()
    assert "range test (decades off)" in html
    assert "adamw suggests 0.01, +1.0 decades from the lr chosen; sgd never fell" in html
    points = pd.read_csv(folder / "figures" / "ranges_photo_mlp.csv")
    assert len(points) == 2 * 2 * len(LRS) and points["train_loss"].isna().sum() == 2


def test_without_one_there_is_neither(tmp_path: Path) -> None:
    study = make_tuned_study("adamw")
    folder = write_sweep(tmp_path / "results", [(study, ENDS)], search=[make_search(study, tried=TRIED)])
    build(folder, default_sections(), None)
    assert "range test" not in (folder / "report.html").read_text()
    assert not list((folder / "figures").glob("ranges*"))
