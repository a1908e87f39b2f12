"""A sweep under Hydra's launchers: jobs that share the work, one report, the numbers of our own runner."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from bench.record import read_record
from bench.result import Plan, Result
from tests.commands import REPOSITORY, read_sweep, run_bench

pytestmark = pytest.mark.launchers

LAUNCHERS = {
    "joblib": ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2"),
    "submitit_local": ("hydra/launcher=submitit_local",),
    "ray": ("hydra/launcher=ray", "+hydra.launcher.ray.init.num_cpus=2"),
}
PLUGINS = {
    "joblib": "hydra_joblib_launcher",
    "submitit_local": "hydra_submitit_launcher",
    "ray": "hydra_ray_launcher",
}
SWEEP = ("-m", "optimizer=sgd,adam", "workload=digits_mlp", "budget=smoke", "meter=none", "search.trials=3")


def want(launcher: str) -> tuple[str, ...]:
    name = f"hydra_plugins.{PLUGINS[launcher]}"
    if importlib.util.find_spec("hydra_plugins") is None or importlib.util.find_spec(name) is None:
        pytest.skip(f"wants the extra with {PLUGINS[launcher]}")
    return LAUNCHERS[launcher]


def run_cold(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command from nothing: a launcher's processes import what they need themselves."""
    variables = {"PYTHONPATH": str(REPOSITORY), "HOME": str(cwd), "RAY_USAGE_STATS_ENABLED": "0"}
    return subprocess.run(
        [sys.executable, "-m", "bench", *arguments],
        cwd=cwd, env=os.environ | variables, capture_output=True, text=True, timeout=600,
    )  # fmt: skip


def read_numbers(folder: Path) -> dict[str, tuple[object, ...]]:
    """Return what may not depend on who ran it: by run id, every loss of every run that was stored."""
    found = {}
    for path in (folder / "results" / "runs").rglob("result.json"):
        result = read_record(path, Result)
        curve = result.curve
        found[result.id] = (result.status, result.val_loss, result.search_loss, curve.step, curve.val_loss)
    return found


def read_decisions(folder: Path) -> list[tuple[object, ...]]:
    """Return what each study tried and chose."""
    return [(study.search, study.runs, study.unsettled) for study in read_sweep(folder / "results").studies]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plain")
    done = run_bench(*SWEEP, "seeds=2", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize(
    "launcher", ["joblib", "submitit_local", pytest.param("ray", marks=pytest.mark.slow)]
)
def test_a_launcher_changes_no_number_and_ends_in_one_report(
    launcher: str, plain: Path, tmp_path: Path
) -> None:
    chosen = want(launcher)
    done = run_cold(*SWEEP, "seeds=2", *chosen, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert read_numbers(tmp_path) == read_numbers(plain)
    assert read_decisions(tmp_path) == read_decisions(plain)
    assert len(list((tmp_path / "results").glob("*/report.html"))) - 1 == 1, "one report, and latest"
    assert "4 ok" in done.stdout and "cached" not in done.stdout
    sweep = read_sweep(tmp_path / "results")
    plan = read_record(sweep.folder / "plan.json", Plan)
    assert [study.optimizer for study in plan.studies] == [one.study.optimizer for one in sweep.studies]

    # Another launcher, or none, is no other sweep: the store answers.
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "results" / "runs").rglob("*.json")}
    again = run_bench(*SWEEP, "seeds=2", cwd=tmp_path)
    assert again.returncode == 0 and "4 cached" in again.stdout
    assert before == {
        path: path.stat().st_mtime_ns for path in (tmp_path / "results" / "runs").rglob("*.json")
    }


def test_a_job_says_as_much_as_is_asked(tmp_path: Path) -> None:
    chosen = want("joblib")
    said = {}
    for flag in ("-q", "-v"):
        (folder := tmp_path / flag).mkdir()
        done = run_cold(
            "-m", "optimizer=sgd", *SWEEP[2:], "seeds=1", "report.sections=[]", flag, *chosen, cwd=folder
        )
        assert done.returncode == 0, done.stderr
        said[flag] = done.stderr
    assert said["-q"] == ""
    # A line for each trial; without the flag only runs of an evaluation have one.
    assert "seed=1000000  val loss" in said["-v"]


def test_an_earlier_manifest_that_is_damaged_is_written_anew(tmp_path: Path) -> None:
    chosen = want("joblib")
    words = ("-m", "optimizer=sgd", *SWEEP[2:], "search=none", "seeds=1", "report.sections=[]")
    assert run_bench(*words, cwd=tmp_path).returncode == 0
    manifest = (tmp_path / "results" / "latest").resolve() / "manifest.json"
    manifest.write_bytes(b"{")
    done = run_cold(*words, *chosen, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert read_sweep(tmp_path / "results").manifest.name == manifest.parent.name


def test_a_failing_run_in_a_job_is_a_row(tmp_path: Path) -> None:
    chosen = want("joblib")
    (tmp_path / "broken.py").write_text(
        "import torch\n\n\nclass Broken(torch.optim.SGD):\n"
        "    def step(self, closure=None):\n        raise RuntimeError('broken on purpose')\n"
    )
    done = run_cold(
        "-m", "optimizer=custom", "optimizer._target_=broken.Broken", "optimizer.name=broken",
        "optimizer.lr=0.1,0.2", "seeds=1", "workload=digits_mlp", "budget=smoke", "meter=none", "search=none",
        *chosen, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "broken on purpose" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("hydra/launcher=slrm",), "hydra/launcher=slrm: no such choice"),
        (("hydra/launcher=joblib", "hydra.launcher.n_job=2"), "n_job"),
        (("hydra/launcher=joblib", "budget.steps=0"), "budget.steps: wants a whole number >= 1, got 0"),
    ],
)
def test_a_wrong_request_is_one_line(words: tuple[str, ...], line: str, tmp_path: Path) -> None:
    want("joblib")
    done = run_bench(*SWEEP, *words, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert line in done.stderr and len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.rglob("result.json"))


@pytest.mark.slow
def test_our_runner_is_never_slower(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Twelve studies, two at a time: by our runner, and by every launcher that is installed."""
    sweep = (
        "-m", "optimizer=sgd,momentum,adam,adamw", "workload=digits_mlp", "optimizer.lr=0.01,0.03,0.1",
        "search=none", "seeds=3", "meter=none", "report.sections=[]",
    )  # fmt: skip
    installed = [name for name in LAUNCHERS if importlib.util.find_spec(f"hydra_plugins.{PLUGINS[name]}")]
    if not installed:
        pytest.skip("no launcher is installed")
    took: dict[str, list[float]] = {name: [] for name in ("ours", *installed)}
    numbers = []
    for turn in range(2):
        for name in took:
            folder = tmp_path / f"{name}{turn}"
            folder.mkdir()
            start = time.perf_counter()
            words = ("place.workers=2",) if name == "ours" else LAUNCHERS[name]
            done = run_cold(*sweep, *words, cwd=folder)
            took[name].append(time.perf_counter() - start)
            assert done.returncode == 0, (name, done.stderr)
            assert len(read_sweep(folder / "results").studies) == 12
            numbers.append(read_numbers(folder))
    assert all(one == numbers[0] for one in numbers)
    best = {name: min(seconds) for name, seconds in took.items()}
    with capsys.disabled():
        print(
            "\n"
            + msgspec.json.encode({name: round(s / best["ours"], 2) for name, s in best.items()}).decode()
        )
    assert best["ours"] == min(best.values())
