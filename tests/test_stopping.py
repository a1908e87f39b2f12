"""A sweep that is asked to stop ends in good order and goes on where it was; asked twice, it ends at once."""

from __future__ import annotations

import re
import signal
import time
from pathlib import Path

import pytest

from bench.record import read_record
from bench.result import Result
from tests.commands import read_sweep, run_bench, start_bench
from tests.processes import count_processes, list_processes, wait_until
from tests.tiers import few
from tests.villains import write_configs

SWEEP = ("workload=digits_mlp", "seeds=3", "search=none", "meter=none", "report.sections=[]")
LONG = (*SWEEP, "budget.steps=1500", "budget.evaluations=150")


@pytest.mark.parametrize("number", few([signal.SIGTERM, signal.SIGUSR2, signal.SIGINT]))
def test_a_stopped_sweep_tells_batch_systems_and_goes_on_to_the_same_numbers(
    number: signal.Signals, tmp_path: Path
) -> None:
    started = start_bench(*LONG, cwd=tmp_path)
    started.wait_for("evaluate: 3 runs")
    wait_until(lambda: bool(list(tmp_path.rglob("claim.1"))))
    started.send_signal(number)
    stopped = started.wait(60)
    assert stopped.returncode == (130 if number == signal.SIGINT else 75), stopped.stderr
    assert "INTERRUPTED" in stopped.stdout
    assert "Traceback" not in stopped.stderr
    attempts = [read_record(path, Result) for path in (tmp_path / "results").rglob("attempt.json")]
    assert attempts and {attempt.status for attempt in attempts} == {"interrupted"}
    assert not list(tmp_path.rglob("claim.*")) and not list(tmp_path.rglob(".owners"))
    if number != signal.SIGTERM:
        return
    again = run_bench(*LONG, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    [results] = read_sweep(tmp_path / "results").results
    (tmp_path / "other").mkdir()
    assert run_bench(*LONG, cwd=tmp_path / "other").returncode == 0
    [undisturbed] = read_sweep(tmp_path / "other" / "results").results
    assert [result.curve.val_loss for result in results] == [end.curve.val_loss for end in undisturbed]
    # What had begun was not begun again.
    assert any("resumed after step" in note for result in results for note in result.notes)


def test_the_second_signal_ends_it_at_once_and_the_same_command_goes_on(tmp_path: Path) -> None:
    write_configs(tmp_path / "more")
    sweep = ("--config-dir", "more", *SWEEP, "budget=smoke", "place.workers=2")
    # A model that never comes back from its first batch.
    started = start_bench(*sweep, "model=hang", cwd=tmp_path)
    started.wait_for("evaluate: 3 runs")
    wait_until(lambda: len(list(tmp_path.rglob("claim.1"))) == 2)
    started.send_signal(signal.SIGINT)
    # The same wish again within a moment would be an echo.
    time.sleep(0.5)
    started.send_signal(signal.SIGTERM)
    assert started.wait(20).returncode == 143
    wait_until(lambda: count_processes(started.pid) == 0)
    again = run_bench(*sweep, "model=mlp", cwd=tmp_path)
    assert again.returncode == 0, again.stderr


def test_a_sweep_of_villains_is_a_row_each_and_the_others_are_as_ever(tmp_path: Path) -> None:
    write_configs(tmp_path / "more")
    sweep = ("--config-dir", "more", "-m", *SWEEP, "budget=smoke", "seeds=2", "place.workers=2")
    healthy = run_bench(*sweep, "model=mlp", cwd=tmp_path)
    assert healthy.returncode == 0, healthy.stderr
    [[*undisturbed]] = read_sweep(tmp_path / "results").results

    deeds = {
        "raise": "failed", "exit": "failed", "exit_hard": "failed", "crash": "failed", "be_killed": "killed",
        "hang": "timeout", "not_finite": "diverged", "run_out": "oom", "hog": "oom",
        "lose_data_worker": "failed",
    }  # fmt: skip
    models = f"model={','.join([*list(deeds)[:5], 'mlp', *list(deeds)[5:]])}"
    started = start_bench(*sweep, models, "place.timeout_s=6", "place.results=other", cwd=tmp_path)
    done = started.wait()
    assert done.returncode == 3, done.stderr
    wait_until(lambda: not list_processes(started.pid, is_dead_listed=True))
    assert "Traceback" not in done.stderr
    found = read_sweep(tmp_path / "other")
    rows = {study.study.model.name: ends for study, ends in zip(found.studies, found.results, strict=True)}
    assert sum(map(len, rows.values())) == 22
    assert [end.curve.val_loss for end in rows.pop("mlp")] == [end.curve.val_loss for end in undisturbed]
    for name, ends in rows.items():
        assert {end.status for end in ends} == {deeds[name]}, name
        assert all(end.detail and "\n" not in end.detail for end in ends)
    # A line at once, with the place of what it wrote.
    place = re.search(r"exit_hard.*; see (\S+)", done.stderr)
    if place is None:
        place = re.search(r"exit code 0; see (\S+)", done.stderr)
    assert place is not None and (tmp_path / place[1] / "log.txt").read_text() == "these are my last words\n"


DRIFTING = """
import os
from pathlib import Path
import torch

class Drifting(torch.optim.SGD):
    def __init__(self, params, lr: float = 0.1):
        super().__init__(params, lr=lr)
        if not Path("drifted").exists():
            Path("drifted").touch()
            with open(__file__, "a") as file:
                file.write("# another line")
            os._exit(1)
"""


def test_code_that_changes_under_a_sweep_ends_the_runs_that_would_take_it_up(tmp_path: Path) -> None:
    (tmp_path / "drifting.py").write_text(DRIFTING)
    mine = ("optimizer=custom", "optimizer._target_=drifting.Drifting", "optimizer.name=drifting")
    sweep = (*mine, *SWEEP, "budget=smoke", "place.workers=1")
    done = run_bench(*sweep, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    [ends] = read_sweep(tmp_path / "results").results
    assert [end.status for end in ends] == ["failed"] * 3
    assert ends[0].detail == "its process ended itself with exit code 1"
    changed = "drifting.Drifting: its code was changed after the sweep began; "
    assert all((end.detail or "").startswith(changed) for end in ends[1:])
    again = run_bench(*sweep, cwd=tmp_path)
    assert again.returncode == 0 and "0 cached" in again.stderr


def test_a_yaml_that_changes_under_a_sweep_changes_nothing_of_it(tmp_path: Path) -> None:
    folder = tmp_path / "more" / "optimizer"
    folder.mkdir(parents=True)
    plain = "_target_: torch.optim.SGD\nname: plain\nlr: 0.1\n"
    plain += "search: {lr: {default: 0.1, low: 0.001, high: 10.0, source: here}}\n"
    (folder / "plain.yaml").write_text(plain)
    started = start_bench(
        "--config-dir", "more", "optimizer=plain", *SWEEP, "budget.steps=300", "place.workers=1", cwd=tmp_path
    )
    started.wait_for("evaluate: 3 runs")
    (folder / "plain.yaml").write_text(plain.replace("lr: 0.1\n", "lr: 0.7\n"))
    done = started.wait()
    assert done.returncode == 0, done.stderr
    [results] = read_sweep(tmp_path / "results").results
    assert [(one.status, one.run.optimizer.lr) for one in results] == [("finished", 0.1)] * 3
