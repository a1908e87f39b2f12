"""Sweeps that train as populations: what is asked for is what runs; one bad run costs the others nothing."""

from __future__ import annotations

import csv
import json
import signal
from pathlib import Path

import pytest

from bench.result import Result
from tests.commands import Sweep, read_sweep, run_bench, start_bench, write_optimizer
from tests.processes import wait_until
from tests.tiers import few

MINE = """
import os
import signal
import time

import torch


class Mine(torch.optim.SGD):
    def step(self, closure=None):
        # One of them is to blame.
        if self.param_groups[0]["lr"] > 1 and "HANGS" in os.environ:
            time.sleep(1000)
        if self.param_groups[0]["lr"] > 1 and "KILLS" in os.environ:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().step(closure)
"""
QUIET = (
    "workload=digits_mlp", "search=none", "meter=none", "report.sections=[]", "place.workers=1",
)  # fmt: skip


def list_ends(sweep: Sweep) -> dict[str, list[Result]]:
    return {
        study.study.optimizer.name: ends for study, ends in zip(sweep.studies, sweep.results, strict=True)
    }


def read_paths(folder: Path) -> dict[Path, int]:
    paths = (folder / "results" / "runs").rglob("result.json")
    return {path: path.stat().st_mtime_ns for path in paths}


@pytest.mark.parametrize(
    ("deed", "words", "status"), few([("KILLS", (), "killed"), ("HANGS", ("place.timeout_s=4",), "timeout")])
)
def test_whose_process_ends_is_tried_alone_and_the_others_finish(
    deed: str, words: tuple[str, ...], status: str, tmp_path: Path
) -> None:
    write_optimizer(tmp_path, "Mine", MINE)
    command = (
        "--config-dir", "more", "-m", "optimizer=mine", "optimizer.lr=0.1,5", "schedule=constant",
        "schedule.warmup=0", "budget=smoke", "seeds=1", "engine=population", *QUIET, *words,
    )  # fmt: skip
    done = run_bench(*command, cwd=tmp_path, **{deed: "1"})
    assert done.returncode == 3, done.stderr
    assert "2 runs of one process: " in done.stderr and "each is tried by itself" in done.stderr
    ends = [end for (end,) in read_sweep(tmp_path / "results").results]
    assert [(end.status, end.engine) for end in ends] == [("finished", "population"), (status, "population")]
    # Each settled once, and the next command has nothing to do but for the one that did not.
    (path,) = read_paths(tmp_path)
    before = read_paths(tmp_path)
    assert run_bench(*command, "retry=[killed,timeout]", cwd=tmp_path).returncode == 0
    assert read_paths(tmp_path)[path] == before[path] and len(read_paths(tmp_path)) == 2


@pytest.mark.thorough
def test_a_sweep_that_is_asked_to_stop_saves_each_and_goes_on(tmp_path: Path) -> None:
    command = (
        "-m", "optimizer=sgd,adam", "budget.steps=2500", "budget.evaluations=30", "seeds=2",
        "engine=population", "place.checkpoint_s=0.05", *QUIET,
    )  # fmt: skip
    sweep = start_bench(*command, cwd=tmp_path)
    folder = tmp_path / "results"
    sweep.wait_for("evaluate: 4 runs")
    wait_until(lambda: len(list(folder.rglob("checkpoint-a"))) == 4)
    sweep.send_signal(signal.SIGTERM)
    done = sweep.wait()
    assert done.returncode == 75, done.stderr
    saved = list(folder.rglob("checkpoint-a"))
    assert len(saved) == 4 and not read_paths(tmp_path)
    done = run_bench(*command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    ends = [end for some in list_ends(read_sweep(folder)).values() for end in some]
    assert len(ends) == 4 and not list(folder.rglob("checkpoint-*"))
    for end in ends:
        assert end.engine == "population" and end.status == "finished"
        assert [note.split(" step ")[0] for note in end.notes] == ["resumed after"]


def test_both_engines_come_to_the_same_verdict(tmp_path: Path) -> None:
    ends, said = {}, {}
    for engine in ("eager", "population"):
        (tmp_path / engine).mkdir()
        done = run_bench(
            "-m", "optimizer=sgd,adam", "budget=smoke", "seeds=3", f"engine={engine}", "precision=fp64",
            *QUIET, cwd=tmp_path / engine,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        ends[engine] = list_ends(read_sweep(tmp_path / engine / "results"))
        # Without the sweep's name and its time.
        said[engine] = [line for line in done.stdout.splitlines()[1:] if "results/" not in line]
    for name in ("sgd", "adam"):
        for one, other in zip(ends["eager"][name], ends["population"][name], strict=True):
            assert (one.engine, other.engine) == ("eager", "population") and one.id == other.id
            assert one.curve.val_loss == pytest.approx(other.curve.val_loss, rel=1e-9)
            assert one.search_loss == pytest.approx(other.search_loss, rel=1e-9)
    assert said["eager"] == said["population"] != []


def test_auto_tries_once_keeps_what_it_found_and_the_report_names_it(tmp_path: Path) -> None:
    command = (
        "-m", "optimizer=sgd,adam", "budget.steps=300", "seeds=5", "workload=digits_mlp", "search=none",
        "meter=none", "place.workers=1", "report.sections=[bench.report.section.ran]",
    )  # fmt: skip
    done = run_bench(*command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (path,) = (tmp_path / "results" / "engines").rglob("*.json")
    pace = json.loads(path.read_bytes())
    is_faster = pace["eager_s"] > 1.1 * pace["population_s"]
    sweep = read_sweep(tmp_path / "results")
    engine = "population" if is_faster else "eager"
    assert {end.engine for ends in sweep.results for end in ends} == {engine}
    shown = list(csv.DictReader((sweep.folder / "tables" / "runs.csv").read_text().splitlines()))
    assert [row["engine"] for row in shown] == [engine] * 10
    before, tried = read_paths(tmp_path), path.stat().st_mtime_ns
    assert len(before) == 10
    assert run_bench(*command, cwd=tmp_path).returncode == 0
    assert read_paths(tmp_path) == before and path.stat().st_mtime_ns == tried
