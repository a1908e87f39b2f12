"""What a sweep lacks is named with a command, and that command runs what is lacking and nothing else."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

from tests.commands import REPOSITORY, read_sweep, run_bench, write_optimizer

MINE = """
import os

import torch


class Mine(torch.optim.SGD):
    def step(self, closure=None):
        if "BREAKS" in os.environ:
            raise OSError("no step today")
        return super().step(closure)
"""


def ask_status(folder: Path) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-m", "bench.report", "status", "results/latest"],
        cwd=folder, env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    return done.stdout.splitlines()


def test_the_command_of_status_runs_only_what_is_missing_or_failed(tmp_path: Path) -> None:
    write_optimizer(tmp_path, "Mine", MINE)
    command = (
        "--config-dir", "more", "-m", "optimizer=adam,mine", "workload=digits_mlp", "budget=smoke", "seeds=2",
        "search=none", "meter=none", "report.sections=[]",
    )  # fmt: skip
    assert run_bench(*command, cwd=tmp_path, BREAKS="1").returncode == 3
    adam, _ = read_sweep(tmp_path / "results").results
    [lost] = (tmp_path / "results" / "runs").glob(f"*/{adam[1].id}/*/result.json")
    lost.unlink()

    head, _, *rows, _, said = ask_status(tmp_path)
    assert head.endswith(": 1 of 4 runs settled")
    assert [row.split()[1:4] for row in rows] == [["adam", "1", "not"], ["mine", "2", "failed"]]
    assert "no step today" in rows[1]
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "results").rglob("result.json")}
    assert len(before) == 1

    python, *words = shlex.split(said)
    assert python == "python" and words[:2] == ["-m", "bench"] and words[-1] == "retry=failed"
    done = run_bench(*words[2:], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "4 runs in 2 studies; 1 cached" in done.stderr
    assert done.stderr.count("] digits_mlp* ") == 3
    assert {path: path.stat().st_mtime_ns for path in before} == before
    [line] = ask_status(tmp_path)
    assert line.endswith(": 4 of 4 runs settled; nothing is missing")
