"""A search with a range test begins around what that suggests, with runs the store keeps like any other."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from bench.effort import RangeTest
from bench.identity import run_id
from bench.result import Curve, Result
from bench.search.ranging import ABOVE, centre, plan_tests
from bench.search.space import LR, declared, make_space
from bench.search.tuning import Tuning
from bench.seeds import SEARCH_BASE
from tests.composing import compose_study
from tests.records import MACHINE, make_result

STUDY = compose_study("search=lr_range", "optimizer=adamw", workload="digits_mlp")
TEST = RangeTest(
    runs=("a",), lrs=(1e-4, 1e-3), losses=((2.0, 1.0),), num_steps=100, suggested=2e-3, low=1e-3, high=1e-1
)


def answer(tuning: Tuning) -> int:
    """Answer the range tests that a search proposes, and return how many there were."""
    runs = tuning.propose()
    outcomes: dict[str, Result] = {}
    for run in runs:
        # Level up to the middle of the test, lower up to three quarters of it, then lost.
        num = run.budget.evaluations
        losses = [2.3 if k < num / 2 else 2.3 - 0.3 * (k - num / 2) for k in range(3 * num // 4)]
        losses += [9.0] * (num - len(losses))
        step = tuple(round(run.budget.steps * k / num) for k in range(num + 1))
        curve = Curve(
            step=step,
            train_loss=(None, *losses),
            val_loss=(2.3, *losses),
            elapsed_s=tuple(map(float, step)),
            val_metrics={},
        )
        outcomes[run_id(run)] = make_result(run, curve=curve)
    tuning.tell(outcomes)
    return len(runs)


def test_the_first_runs_are_range_tests_and_the_grid_lies_around_what_they_say(tmp_path: Path) -> None:
    tuning = Tuning(STUDY, MACHINE, tmp_path)
    tests = tuning.propose()
    assert [run.seed for run in tests] == [SEARCH_BASE + k for k in range(STUDY.search.confirm_seeds)]
    assert {run.schedule.name for run in tests} == {"exponential"}
    assert answer(tuning) == len(tests)
    grid: list[float | str] = []
    while runs := tuning.propose():
        assert {run.schedule.name for run in runs} == {"cosine"}
        grid += [run.optimizer.lr for run in runs]
        tuning.tell({run_id(run): make_result(run) for run in runs})
    assert len(grid) == STUDY.search.trials == 7
    tuning.end_pass({})
    record = tuning.record(is_final=True)
    assert record.range_test is not None and record.range_test.suggested is not None
    assert min(map(float, grid)) == pytest.approx(record.range_test.suggested / 10, rel=0.01)
    assert max(map(float, grid)) == pytest.approx(record.range_test.suggested * 100, rel=0.01)
    assert msgspec.json.decode(msgspec.json.encode(record), type=type(record)) == record


def test_a_test_that_says_nothing_changes_nothing() -> None:
    space = make_space(STUDY)
    default = declared(STUDY, space)
    silent = msgspec.structs.replace(TEST, suggested=None, low=None, high=None)
    assert centre(space, default, None) == centre(space, default, silent) == (space, default)
    moved, first = centre(space, default, TEST)
    assert first[LR] == pytest.approx(2e-3 * ABOVE, rel=1e-6)
    assert (moved[LR].low, moved[LR].high) == (1e-3, 1e-1)


@pytest.mark.parametrize(
    "override", ["search=lr", "optimizer.lr=0.01", "+search.space.optimizer.lr=[0.1,0.2]"]
)
def test_nobody_is_tested_who_did_not_ask(override: str) -> None:
    study = compose_study("search=lr_range", override, workload="digits_mlp")
    assert plan_tests(study, MACHINE, make_space(study)) == ()
