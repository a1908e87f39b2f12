"""Runs that train side by side give what they give alone, and one that ends its process ends only itself."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import workers
from bench.data.arrays import Arrays
from bench.result import Result
from bench.spec import Data
from bench.workers import Workers, count_workers
from tests.composing import compose_run
from tests.processes import count_processes, wait_until
from tests.records import MACHINE, make_run


def end_process() -> Arrays:
    """A data set that takes its process along."""
    os._exit(7)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "WORTHWHILE_S", 0.0)


def collect(num: int, runs: list[object]) -> Iterator[tuple[int, Result]]:
    with Workers(num) as pool:
        for number, (result, _) in pool.train([(run, MACHINE) for run in runs]):  # type: ignore[misc]
            yield number, result


def test_side_by_side_is_bit_for_bit_what_it_is_alone(at_once: None) -> None:
    runs = [compose_run("budget=smoke", workload="digits_mlp", seed=seed) for seed in range(4)]
    alone, apart = dict(collect(1, runs)), dict(collect(2, runs))
    assert sorted(alone) == sorted(apart) == [0, 1, 2, 3]
    for number in alone:
        assert alone[number].status == "finished"
        assert alone[number].curve.val_loss == apart[number].curve.val_loss
        assert alone[number].search_loss == apart[number].search_loss


def test_a_run_that_ends_its_process_is_one_row_and_the_others_finish(at_once: None) -> None:
    villain = make_run(
        data=Data(
            target="tests.test_workers.end_process", name="villain", version="1", licence="none",
            sha256=None, item="sample",
        )
    )  # fmt: skip
    good = compose_run("budget=smoke", workload="digits_mlp")
    ends = dict(collect(2, [good, villain, good, good]))
    assert [ends[number].status for number in range(4)] == ["finished", "killed", "finished", "finished"]
    assert ends[1].val_loss is None and ends[1].detail == "its process ended before the run did"


def test_auto_is_a_process_a_core_and_one_on_an_accelerator() -> None:
    cores = len(os.sched_getaffinity(0))
    assert count_workers("auto", "cpu", 1) == cores
    assert count_workers("auto", "cpu", 2 * cores) == 1
    assert count_workers("auto", "cuda", 1) == 1
    assert count_workers(7, "cuda", 1) == 7


def test_no_process_outlives_a_sweep_that_is_killed(tmp_path: Path) -> None:
    """The parent gets no chance to say goodbye; its processes notice."""
    code = """
from bench import workers
from tests.composing import compose_run
from tests.records import MACHINE

def main():
    workers.WORTHWHILE_S = 0.0
    runs = [compose_run("budget.steps=200000", workload="digits_mlp", seed=seed) for seed in range(3)]
    short = compose_run("budget=smoke", workload="digits_mlp")
    with workers.Workers(2) as pool:
        for _ in pool.train([(run, MACHINE) for run in [short, *runs]]):
            print("one done", flush=True)

if __name__ == "__main__":
    main()
"""
    script = tmp_path / "sweep.py"
    script.write_text(code)
    root = str(Path(__file__).parents[1])
    sweep = subprocess.Popen(
        [sys.executable, str(script)],
        env=os.environ | {"PYTHONPATH": root},
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert sweep.stdout is not None and sweep.stdout.readline() == b"one done\n"
    # The server, its tracker, and two processes that train.
    wait_until(lambda: count_processes(sweep.pid) >= 4)
    sweep.kill()
    sweep.communicate()
    wait_until(lambda: count_processes(sweep.pid) == 0)
