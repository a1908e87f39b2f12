"""The weight-decay warning rests on the schedule the runs had, and names a command that would tell more."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.report.concern import find_concerns
from bench.report.decay import cumulative_decay, sum_lr
from bench.report.load import load
from bench.schedule import lr_factors
from bench.spec import Budget, Schedule
from tests.sweeps import make_run, make_study, write_sweep


@given(
    st.sampled_from(["constant", "linear", "cosine"]),
    st.floats(0, 0.9),
    st.floats(0, 1),
    st.integers(50, 3000),
)
def test_it_sums_the_lr_that_training_uses(
    name: Literal["constant", "linear", "cosine"], warmup: float, floor: float, steps: int
) -> None:
    schedule = Schedule(name=name, warmup=warmup, floor=floor, interval="step")
    budget = Budget(name="any", steps=steps, batch_size=8, hold="steps", accumulate=1, evaluations=1)
    run = make_run(make_study("adamw", lr=0.01, schedule=schedule, budget=budget), 0)
    expected = 0.01 * sum(lr_factors(schedule, steps, 1))
    assert sum_lr(run) == pytest.approx(expected, rel=0.05, abs=0.01)


def test_by_hand() -> None:
    flat = Schedule(name="constant", warmup=0.0, floor=0.0, interval="step")
    run = make_run(make_study("adamw", lr=0.01, weight_decay=0.1, schedule=flat), 0)
    assert cumulative_decay(run) == pytest.approx(200 * 0.01 * 0.1)
    assert cumulative_decay(make_run(make_study("adamw", weight_decay=None), 0)) is None


def commands(folder: Path) -> list[str]:
    concerns = find_concerns(load(folder, None))
    return [each.command or "" for each in concerns if "can hardly differ" in each.brief]


def pair(weight_decay: float, names: tuple[str, str] = ("adam", "adamw")) -> list[tuple[object, list[float]]]:
    return [
        (make_study(names[0], weight_decay=0.0), [0.01, 0.01, 0.01]),
        (make_study(names[1], weight_decay=weight_decay), [0.01, 0.01, 0.01]),
    ]


def test_faint_decay_is_warned_of_with_a_command_that_would_tell(tmp_path: Path) -> None:
    folder = write_sweep(tmp_path / "results", pair(0.01))  # type: ignore[arg-type]
    assert commands(folder) == ["python -m bench -m workload=mnist1d_mlp optimizer=adam,adamw search=lr_wd"]
    (concern,) = [each for each in find_concerns(load(folder, None)) if "can hardly differ" in each.brief]
    told = re.search(r"A weight decay of (\S+) would sum", concern.text)
    assert told is not None
    run = make_run(make_study("adamw", weight_decay=float(told[1])), 0)
    assert 0.4 <= (cumulative_decay(run) or 0) <= 0.6


def test_strong_decay_and_strangers_are_not_warned_of(tmp_path: Path) -> None:
    assert not commands(write_sweep(tmp_path / "results", pair(5.0)))  # type: ignore[arg-type]
    strangers = pair(0.01, ("sgd", "adamw"))
    assert not commands(write_sweep(tmp_path / "results", strangers, name="other"))  # type: ignore[arg-type]


def test_where_weight_decay_is_varied_one_strong_cell_is_enough(tmp_path: Path) -> None:
    weak, strong = pair(0.01), pair(5.0)[1:]
    assert commands(write_sweep(tmp_path / "results", weak + strong)) == []  # type: ignore[arg-type]
    # Of many faint ones, one is named: the one that decays most.
    fainter = [(make_study("adamw", weight_decay=0.001), [0.01, 0.01, 0.01])]
    folder = write_sweep(tmp_path / "results", weak + fainter, name="faint")  # type: ignore[arg-type]
    (concern,) = [each for each in find_concerns(load(folder, None)) if "can hardly differ" in each.brief]
    assert "adamw weight_decay=0.01" in concern.text


def test_the_terminal_says_it_too(golden: Path) -> None:
    text = (golden / "summary.txt").read_text()
    assert "adam and adamw can hardly differ here" in text and "search=lr_wd" in text


def test_a_modified_workload_is_asked_for_again_with_its_overrides(tmp_path: Path) -> None:
    studies = [
        (make_study(name, weight_decay=0.0, is_workload_modified=True), [0.01] * 3)
        for name in ("adam", "adamw")
    ]
    command = "python -m bench -m optimizer=sgd,adam,adamw budget.steps=200"
    folder = write_sweep(tmp_path / "results", studies, command=command)
    assert commands(folder) == ["python -m bench -m optimizer=adam,adamw budget.steps=200 search=lr_wd"]
