"""Measuring happens in another process: what ends that one is one row, and it ends with the sweep's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import torch

from bench import held
from bench.data.arrays import Arrays
from bench.data.gaussian import Gaussian
from bench.meter.process import measure_all
from bench.spec import Data
from tests.processes import count_processes, wait_until
from tests.records import MACHINE, make_metering, make_run


def end_process() -> Arrays:
    """A data set that takes its process along."""
    os.kill(os.getpid(), 9)
    raise AssertionError


def make_data(target: str, **arguments: object) -> Data:
    return Data(
        target=target, name="own", version="1", licence="none", sha256=None, item="sample", args=arguments
    )


def test_a_cell_that_ends_its_process_is_one_row() -> None:
    villain = make_run(data=make_data("tests.meter.test_process.end_process"))
    jobs = [(make_metering(run), MACHINE) for run in (make_run(), villain, make_run(seed=1))]
    costs = list(measure_all(jobs))
    assert [cost.status for cost in costs] == ["finished", "killed", "finished"]
    assert costs[1].detail == "its process was ended from outside by signal 9 (SIGKILL)"
    assert [cost.run for cost in costs] == [metering.run for metering, _ in jobs]
    # Data that this process has never decoded was decoded over there.
    assert costs[0].step_p50_s is not None and costs[0].notes == ()


def test_what_only_this_program_holds_is_measured_here() -> None:
    arguments = make_run().data.args
    held.data_sets["mine"] = Gaussian(**arguments)
    try:
        run = make_run(data=make_data("bench.held.hold_data", key="mine"))
        [cost] = measure_all([(make_metering(run), MACHINE)])
    finally:
        del held.data_sets["mine"]
    assert cost.status == "finished" and cost.notes[-1].startswith("process: measured in the sweep's own")


def test_the_sweeps_process_keeps_its_settings() -> None:
    torch.set_num_threads(2)
    torch.set_flush_denormal(False)
    try:
        run = make_run(threads=1)
        [cost] = measure_all([(make_metering(run), MACHINE)])
        assert cost.clock == "thread_cpu" and torch.get_num_threads() == 2
        assert torch.tensor([1e-310], dtype=torch.float64).mul(1.0).item() > 0
    finally:
        torch.set_num_threads(1)


def test_no_process_outlives_a_sweep_that_is_killed(tmp_path: Path) -> None:
    code = """
from bench.meter.process import measure_all
from tests.records import MACHINE, make_metering, make_run

def main():
    long = make_metering(seconds=1000.0, rounds=100000, block_s=1.0)
    print("begun", flush=True)
    list(measure_all([(long, MACHINE)]))

if __name__ == "__main__":
    main()
"""
    script = tmp_path / "sweep.py"
    script.write_text(code)
    sweep = subprocess.Popen(
        [sys.executable, str(script)],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert sweep.stdout is not None and sweep.stdout.readline() == b"begun\n"
    # The sweep, its server, and the process that measures.
    wait_until(lambda: count_processes(sweep.pid) >= 3)
    sweep.kill()
    sweep.communicate()
    wait_until(lambda: count_processes(sweep.pid) == 0)


def test_costs_cross_unchanged() -> None:
    run = make_run(budget=msgspec.structs.replace(make_run().budget, steps=3))
    [cost] = measure_all([(make_metering(run), MACHINE)])
    assert cost.status == "finished" and cost.run == run and cost.machine == MACHINE
