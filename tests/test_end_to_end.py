"""The whole way, from a command line to a report: what was asked for is what ran."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from bench.record import read_record
from bench.result import Result
from tests.commands import read_sweep, run_bench, start_bench, write_optimizer

# What runs is looked at here; what a report shows of it, elsewhere.
SMOKE = ("budget=smoke", "seeds=2", "meter=none", "search=none", "report.sections=[]")
DIGITS = ("workload=digits_mlp", *SMOKE)
# What a step costs, as roughly as it can be measured.
ROUGH = ("meter.seconds=0.02", "meter.warmup_steps=3")

MINE = """
import torch

SCALE = 1.0

class Mine(torch.optim.SGD):
    def __init__(self, params, lr: float = 0.1, nudge: float = 0.0):
        super().__init__(params, lr=lr * SCALE + nudge)
"""


def test_a_sweep_ends_in_a_report_and_a_second_one_trains_nothing(tmp_path: Path) -> None:
    command = ("-m", "optimizer=adam,adamw", "budget=smoke", "seeds=3", "search=none", *ROUGH)
    first = run_bench(*command, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    sweep = read_sweep(tmp_path / "results")
    assert [len(results) for results in sweep.results] == [3, 3]
    assert {result.status for results in sweep.results for result in results} == {"finished"}
    for name in ("report.html", "report.md", "summary.txt"):
        assert (sweep.folder / name).stat().st_size > 0
    assert (sweep.folder / "summary.txt").read_text() == first.stdout
    lines = first.stdout.splitlines()
    assert len(lines) <= 16 and max(map(len, lines)) <= 100
    assert list(tmp_path.iterdir()) == [tmp_path / "results"]

    stored = {path: path.stat().st_mtime_ns for path in (tmp_path / "results").rglob("result.json")}
    before = os.times()
    second = run_bench(*command, cwd=tmp_path, is_watched=True)
    after = os.times()
    # Of the processor: how busy the machine is says little.
    assert after.children_user + after.children_system - before.children_user - before.children_system < 12
    assert after.elapsed - before.elapsed < 120
    assert second.returncode == 0
    assert "6 runs in 2 studies; 6 cached" in second.stderr
    assert "torch not imported" in second.stderr
    assert stored == {path: path.stat().st_mtime_ns for path in (tmp_path / "results").rglob("result.json")}


def test_a_single_run_ends_in_the_same_report(tmp_path: Path) -> None:
    done = run_bench("budget=smoke", "workload=digits_mlp", "seeds=1", "search=none", *ROUGH, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "digits_mlp*" in done.stdout and "adamw" in done.stdout
    assert (read_sweep(tmp_path / "results").folder / "report.html").exists()


def test_smoke_is_the_named_workload_at_ten_steps(tmp_path: Path) -> None:
    assert run_bench("workload=photo_mlp", *SMOKE, cwd=tmp_path).returncode == 0
    [results] = read_sweep(tmp_path / "results").results
    assert [(result.num_steps, result.run.data.name, result.run.budget.batch_size) for result in results] == [
        (10, "photo", 512)
    ] * 2


def test_depth_changes_the_model(tmp_path: Path) -> None:
    assert run_bench("-m", "model.depth=2,3", *DIGITS, cwd=tmp_path).returncode == 0
    two, three = read_sweep(tmp_path / "results").results
    assert three[0].num_params - two[0].num_params == 64 * 64 + 64


def test_another_model_runs_on_the_same_data(tmp_path: Path) -> None:
    assert run_bench("workload=digits_mlp", "model=cnn", *SMOKE, cwd=tmp_path).returncode == 0
    sweep = read_sweep(tmp_path / "results")
    assert sweep.studies[0].study.is_workload_modified
    assert sweep.results[0][0].run.model.target == "bench.model.cnn.Cnn"
    assert "accuracy" in sweep.results[0][0].val_metrics


def test_two_workloads_share_one_report(tmp_path: Path) -> None:
    done = run_bench("-m", "workload=digits_mlp,gaussian_mlp", "optimizer=sgd,adam", *SMOKE, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    sweep = read_sweep(tmp_path / "results")
    assert [(s.study.workload.name, s.study.optimizer.name) for s in sweep.studies] == [
        ("digits_mlp", "sgd"), ("digits_mlp", "adam"), ("gaussian_mlp", "sgd"), ("gaussian_mlp", "adam")
    ]  # fmt: skip
    assert "digits_mlp" in done.stdout and "gaussian_mlp" in done.stdout


def test_a_model_that_does_not_fit_is_a_row(tmp_path: Path) -> None:
    done = run_bench("-m", "model=photo_mlp,cnn", *SMOKE, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    fits, misfit = read_sweep(tmp_path / "results").results
    assert {result.status for result in fits} == {"finished"}
    assert {result.status for result in misfit} == {"unsupported"}
    assert all("does not fit" in (result.detail or "") for result in misfit)
    assert "does not fit: cnn takes image" in done.stdout and "1 cell not run" in done.stdout


def test_a_class_of_ones_own_needs_no_file_of_ours(tmp_path: Path) -> None:
    custom = ("optimizer=custom", "optimizer._target_=torch.optim.RMSprop", "optimizer.name=rmsprop")
    done = run_bench(*custom, *DIGITS, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "rmsprop" in done.stdout
    plus = run_bench(*custom, "+optimizer.alpha=0.9", *DIGITS, cwd=tmp_path)
    assert plus.returncode == 0, plus.stderr
    assert read_sweep(tmp_path / "results").studies[0].study.optimizer.args == {"alpha": 0.9}


def test_a_yaml_outside_the_tree_joins_a_sweep_and_editing_its_class_retrains_it_alone(
    tmp_path: Path,
) -> None:
    write_optimizer(tmp_path, "Mine", MINE, "nudge: 0.0")
    command = ("--config-dir", "more", "-m", "optimizer=adam,mine", *DIGITS)

    first = run_bench(*command, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert "mine" in first.stdout and "adam" in first.stdout
    before = read_sweep(tmp_path / "results").results

    (tmp_path / "mine.py").write_text(MINE.replace("SCALE = 1.0", "SCALE = 0.5"))
    second = run_bench(*command, cwd=tmp_path)
    assert "4 runs in 2 studies; 2 cached" in second.stderr
    after = read_sweep(tmp_path / "results").results
    assert [r.id for r in after[0]] == [r.id for r in before[0]]
    assert after[1][0].val_loss != before[1][0].val_loss


def test_an_unreadable_result_is_said_once_and_made_again(tmp_path: Path) -> None:
    assert run_bench(*DIGITS, cwd=tmp_path).returncode == 0
    damaged, foreign = sorted((tmp_path / "results").rglob("result.json"))[:2]
    whole = read_record(damaged, Result)
    foreign.write_bytes(damaged.read_bytes())
    damaged.write_bytes(damaged.read_bytes()[:100])
    planned = run_bench(*DIGITS, "do=plan", cwd=tmp_path)
    assert planned.returncode == 0 and len(damaged.read_bytes()) == 100
    done = run_bench(*DIGITS, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if "unreadable" in line]
    assert line.startswith("2 of ") and " stored results unreadable: first " in line
    # Nobody's file is lost, and its run has the numbers that it had.
    (aside,) = damaged.parent.glob("result.json.unreadable-*")
    assert len(aside.read_bytes()) == 100
    assert len(list(foreign.parent.glob("result.json.unreadable-*"))) == 1
    assert read_record(damaged, Result).curve.val_loss == whole.curve.val_loss
    assert read_record(foreign, Result).id == foreign.parent.parent.name
    again = run_bench(*DIGITS, cwd=tmp_path)
    assert again.returncode == 0 and "unreadable" not in again.stderr


def test_a_failing_run_is_a_row_and_the_others_go_on(tmp_path: Path) -> None:
    fails = MINE + "\n    def step(self, closure):\n        raise OSError('no step today')\n"
    write_optimizer(tmp_path, "Mine", fails, "nudge: 0.0")
    done = run_bench("--config-dir", "more", "-m", "optimizer=mine,adam", *DIGITS, cwd=tmp_path)
    assert done.returncode == 3
    failed, finished = read_sweep(tmp_path / "results").results
    assert {(r.status, r.detail) for r in failed} == {("failed", "OSError: no step today")}
    assert {r.status for r in finished} == {"finished"}
    assert list((tmp_path / "results").rglob("traceback.txt"))
    again = run_bench("--config-dir", "more", "-m", "optimizer=mine,adam", *DIGITS, cwd=tmp_path)
    assert again.returncode == 3 and "4 cached" in again.stderr
    retried = run_bench(
        "--config-dir", "more", "-m", "optimizer=mine,adam", "retry=[failed]", *DIGITS, cwd=tmp_path
    )
    assert retried.returncode == 3 and "2 cached" in retried.stderr


def test_an_interrupt_keeps_what_is_finished(tmp_path: Path) -> None:
    started = start_bench(
        "seeds=500", "budget.steps=100", "meter=none", "search=none", "engine=eager", cwd=tmp_path
    )
    started.wait_for("[  3/500]")
    started.send_signal(signal.SIGINT)
    done = started.wait()
    assert done.returncode == 130, done.stderr
    assert "INTERRUPTED" in done.stdout
    assert len(list((tmp_path / "results").rglob("result.json"))) >= 3


@pytest.mark.parametrize(
    "overrides", [["experiment=tutorial_decay", "optimizer=adamw"], ["experiment=tutorial_dropout"]]
)
def test_tutorial_programs_are_presets(overrides: list[str], tmp_path: Path) -> None:
    done = run_bench(*overrides, "seeds=1", "meter=none", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    [[result]] = read_sweep(tmp_path / "results").results
    assert result.num_steps == 300 and result.run.optimizer.lr == 1e-3
