"""Whatever process of a sweep is killed, and when: the same command goes on, and nothing of it shows."""

from __future__ import annotations

import functools
import os
import random
import signal
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from bench.record import read_record
from bench.result import Result
from tests.commands import read_sweep, run_bench, start_bench
from tests.processes import list_processes, wait_until

# With each engine; `nox -s torture` wants 100.
NUM_KILLS = int(os.environ.get("BENCH_KILLS", "40"))
SWEEP = (
    "-m", "optimizer=sgd,adam", "workload=digits_mlp", "budget.steps=300", "seeds=5", "meter=none",
    "report.sections=[]", "place.workers=2", "place.checkpoint_s=0.05", "retry=[killed]",
)  # fmt: skip
# A sweep takes some seconds; kills come at any moment of it, its first imports included.
LONGEST_S = 5.0


def read_numbers(results: Path) -> dict[str, object]:
    """Return what each run gave, and find each run once."""
    paths = list(results.glob("runs/*/*/*/result.json"))
    found = [read_record(path, Result) for path in paths]
    assert len({result.id for result in found}) == len(found)
    return {
        result.id: (result.curve.val_loss, result.curve.train_loss, result.search_loss, result.val_loss)
        for result in found
    }


def is_gone(session: int) -> bool:
    return not list_processes(session)


def check_kept(before: Mapping[Path, bytes]) -> None:
    for path, content in before.items():
        assert path.read_bytes() == content


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["eager", "population"])
def test_any_process_may_be_killed_at_any_moment(tmp_path: Path, engine: str) -> None:
    draw = random.Random(20261123)
    sweep = (*SWEEP, f"engine={engine}")
    (tmp_path / "undisturbed").mkdir()
    assert run_bench(*sweep, cwd=tmp_path / "undisturbed").returncode == 0
    wanted = read_numbers(tmp_path / "undisturbed" / "results")
    num_kills = num_rounds = 0
    kept: dict[Path, bytes] = {}
    while num_kills < NUM_KILLS or kept:
        here = tmp_path / str(num_rounds)
        here.mkdir(exist_ok=True)
        started = start_bench(*sweep, cwd=here)
        if num_kills < NUM_KILLS:
            time.sleep(draw.uniform(0.0, LONGEST_S))
            if processes := list_processes(started.pid):
                # The sweep's own process as often as any other.
                own = [pid for pid in processes if pid == started.pid]
                victim = draw.choice(own if own and draw.random() < 0.5 else processes)
                kill(victim)
                num_kills += 1
        done = started.wait()
        wait_until(functools.partial(is_gone, started.pid))
        check_kept(kept)
        kept = {path: path.read_bytes() for path in here.glob("results/runs/*/*/*/result.json")}
        assert "Traceback" not in done.stderr, done.stderr
        if done.returncode == 0:
            assert read_numbers(here / "results") == wanted
            found = read_sweep(here / "results")
            rows = [result.id for ends in found.results for result in ends]
            assert len(rows) == len(set(rows)) == 10
            num_rounds, kept = num_rounds + 1, {}
        else:
            # A run that lost its process is a row until the next command; nothing else may have gone wrong.
            assert done.returncode in (3, -signal.SIGKILL), done.stderr
    print(f"{num_kills} kills in {num_rounds} sweeps of {len(wanted)} runs")


def kill(pid: int) -> None:
    """Kill a process that may be gone by now."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
