"""A speed-up is read between whole trainings of the reference, and never beyond them."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.report.build import build
from bench.report.load import load
from bench.report.section.speedup import format_steps
from bench.report.speedup import Share, find_ladders, find_steps, measure_shares
from tests.sweeps import make_tuned_study, write_sweep

HORIZONS = (0.5, 1.0, 2.0)
# Halving the loss takes 2^(1/0.4) times the steps.
POWER = -0.4


def power_law(factor: float, noise: tuple[float, ...] = (1.0, 1.01, 0.99)) -> dict[float, list[float | str]]:
    """Return per horizon the final losses by seed of an optimizer that is `factor` times as fast."""
    return {horizon: [0.01 * (horizon * factor) ** POWER * each for each in noise] for horizon in HORIZONS}


def write_ladder(root: Path, cells: dict[str, dict[float, list[float | str]]]) -> Path:
    studies = [
        (make_tuned_study(name, horizon=horizon), ends)
        for name, losses in cells.items()
        for horizon, ends in losses.items()
    ]
    return write_sweep(root / "results", studies)


def measure(root: Path, cells: dict[str, dict[float, list[float | str]]]) -> dict[str, Share]:
    (ladder,) = find_ladders(load(write_ladder(root, cells), None).arenas)
    return {share.cell.label: share for share in measure_shares(ladder)}


@given(st.floats(50, 800), st.floats(-2, -0.05), st.floats(1e-3, 1e3))
def test_a_power_law_is_met_exactly(steps: float, power: float, scale: float) -> None:
    rungs = [(each, scale * each**power) for each in (50, 100, 200, 800)]
    found = find_steps(rungs, scale * steps**power)
    assert (isinstance(found, float) and found == pytest.approx(steps, rel=1e-6)) or steps in (50, 800)


@given(
    st.lists(st.tuples(st.integers(1, 9), st.floats(1e-3, 10)), min_size=2, unique_by=lambda rung: rung[0]),
    st.floats(1e-3, 10),
)
def test_steps_are_never_extrapolated(rungs: list[tuple[int, float]], loss: float) -> None:
    found = find_steps(rungs, loss)
    if isinstance(found, float):
        assert min(rungs)[0] * (1 - 1e-9) <= found <= max(rungs)[0] * (1 + 1e-9)
    elif found == "fewer":
        assert min(rungs)[1] < loss
    else:
        assert found == "more" and all(each > loss for _, each in rungs)


@pytest.mark.parametrize(
    ("rungs", "loss", "wanted"),
    [
        ([(100, 0.4), (200, 0.2)], 0.4, 100.0),
        ([(200, 0.2), (100, 0.4)], 0.2, 200.0),
        ([(100, 0.4), (200, 0.2)], 0.5, "fewer"),
        ([(100, 0.4), (200, 0.2)], 0.1, "more"),
        # The fewest steps where a longer training came out worse.
        ([(100, 0.4), (200, 0.2), (400, 0.3), (800, 0.1)], 0.25, 100 * 2 ** math.log2(0.4 / 0.25)),
        ([(100, 0.2), (200, 0.2)], 0.2, 100.0),
        ([(100, 0.4)], 0.4, None),
        ([(100, 0.4), (200, 0.0)], 0.3, None),
        ([(100, 0.4), (200, 0.2)], -1.0, None),
    ],
)
def test_steps_by_hand(rungs: list[tuple[int, float]], loss: float, wanted: float | str | None) -> None:
    found = find_steps(rungs, loss)
    assert found == (pytest.approx(wanted) if isinstance(wanted, float) else wanted)


def test_a_twice_as_fast_optimizer_needs_half_of_the_steps(tmp_path: Path) -> None:
    shares = measure(
        tmp_path,
        {
            "adamw": power_law(1),
            "fast": power_law(1.6),
            "slow": power_law(0.8),
            "far": power_law(9),
            "lost": power_law(0.1),
        },
    )
    assert shares["fast"].steps == pytest.approx(1 / 1.6) and shares["slow"].steps == pytest.approx(1 / 0.8)
    # Equal metered steps: time is steps. Seeds that move alike leave no spread.
    assert shares["fast"].time == pytest.approx(1 / 1.6)
    assert shares["fast"].interval == pytest.approx((1 / 1.6, 1 / 1.6)) and shares["fast"].n == 3
    assert (
        format_steps(shares["far"]) == "less than 50 %" and format_steps(shares["lost"]) == "more than 200 %"
    )
    assert shares["far"].time is None


def test_a_seed_outside_leaves_the_middle_one_and_no_interval(tmp_path: Path) -> None:
    fast = power_law(1.5)
    fast[1.0] = [0.01 * factor**POWER for factor in (1.5, 1.6, 9.0)]
    share = measure(tmp_path, {"adamw": power_law(1, (1.0, 1.0, 1.0)), "fast": fast})["fast"]
    assert share.steps == pytest.approx(1 / 1.6) and share.interval is None and share.num_outside == 1
    assert format_steps(share) == "62.5 %"


def test_horizons_without_the_reference_do_not_count(tmp_path: Path) -> None:
    reference = power_law(1)
    reference[2.0] = [0.01, "diverged", 0.01]
    shares = measure(tmp_path, {"adamw": reference, "fast": power_law(1.6)})
    assert format_steps(shares["fast"]) == "less than 100 %"
    alone: dict[float, list[float | str]] = {1.0: power_law(1)[1.0], 0.5: ["diverged"] * 3}
    assert measure(tmp_path / "b", {"adamw": alone, "fast": power_law(2)}) == {}


def test_arenas_are_named_by_their_horizon_and_the_section_is_written(tmp_path: Path) -> None:
    folder = write_ladder(tmp_path, {"adamw": power_law(1), "fast": power_law(1.6)})
    assert {arena.name for arena in load(folder, None).arenas} == {
        "photo_mlp",
        "photo_mlp at 0.5x",
        "photo_mlp at 2x",
    }
    build(folder, ["bench.report.section.speedup"], None)
    text = (folder / "report.md").read_text()
    assert "fast trained for 200 steps needs 62.5 %" in text and "seeds vary init, order, dropout" in text
    with open(folder / "tables" / "speedup_photo_mlp.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert float(row["steps_share"]) == pytest.approx(0.625) and row["beyond"] == ""
    assert (folder / "figures" / "speedup_photo_mlp.svg").stat().st_size > 100


def test_one_horizon_is_no_ladder(tmp_path: Path) -> None:
    folder = write_ladder(tmp_path, {"adamw": {1.0: [0.01] * 3}, "fast": {1.0: [0.009] * 3}})
    assert find_ladders(load(folder, None).arenas) == ()
