"""A tuned sweep from the command line: equal effort, fresh seeds, and no trial lost or repeated by a kill."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from bench.result import SearchRecord
from bench.seeds import SEARCH_BASE
from tests.commands import read_sweep, run_bench, start_bench
from tests.tiers import few

CHEAP = (
    "workload=digits_mlp",
    "budget.steps=40",
    "budget.evaluations=2",
    "meter=none",
    "report.sections=[]",
)


def read_searches(folder: Path) -> list[SearchRecord]:
    searches = [study.search for study in read_sweep(folder / "results").studies]
    assert all(search is not None for search in searches)
    return [search for search in searches if search is not None]


def test_every_optimizer_gets_the_same_search_and_fresh_seeds(tmp_path: Path) -> None:
    command = ("-m", "optimizer=sgd,adam", *CHEAP, "seeds=3", "search.widen=false")
    done = run_bench(*command, "place.first_answer_s=0", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    sweep = read_sweep(tmp_path / "results")
    for study, results in zip(sweep.studies, sweep.results, strict=True):
        search = study.search
        assert search is not None and search.is_final
        assert len(search.trials) == 9
        lrs = sorted(float(trial.params["optimizer.lr"]) for trial in search.trials)
        assert lrs[-1] / lrs[0] == pytest.approx(1e4, rel=1e-9)
        confirmed = [trial for trial in search.trials if trial.is_confirmed]
        assert len(confirmed) == 3 and all(len(trial.losses) == 3 for trial in confirmed)
        assert search.best in [trial.number for trial in confirmed]
        chosen = search.trials[search.best].params["optimizer.lr"]
        assert {result.run.optimizer.lr for result in results} == {chosen}
        assert [result.run.seed for result in results] == [0, 1, 2]
        assert all(result.run.seed < SEARCH_BASE for result in results)
    assert "first answer:" in done.stderr
    assert "untuned" not in done.stdout

    again = run_bench(*command, cwd=tmp_path, is_watched=True)
    assert "torch not imported" in again.stderr
    assert "[" not in again.stderr


WIDENING = ("search.trials=3", "search.confirm=2", "search.widen_rounds=2")


def test_an_edge_widens_every_range_of_the_arena_alike(tmp_path: Path) -> None:
    command = ("-m", "optimizer=sgd,adam", *CHEAP, "seeds=3", *WIDENING)
    done = run_bench(*command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "at the edge of its range" in done.stderr
    one, two = read_searches(tmp_path)
    assert one.num_widened == two.num_widened > 0
    assert len(one.trials) == len(two.trials) == 3 + 2 * one.num_widened
    assert {trial.round for trial in one.trials} == set(range(one.num_widened + 1))
    # Answered from the store, it decides the same.
    assert run_bench(*command, cwd=tmp_path).returncode == 0
    assert read_searches(tmp_path) == [one, two]


@pytest.mark.thorough
def test_processes_that_share_a_widened_search_decide_alike(tmp_path: Path) -> None:
    command = ("-m", "optimizer=sgd,adam", *CHEAP, "seeds=1", *WIDENING)
    found = []
    for num in (1, 2):
        folder = tmp_path / str(num)
        folder.mkdir()
        for started in [start_bench(*command, cwd=folder) for _ in range(num)]:
            done = started.wait()
            assert done.returncode == 0, done.stderr
        found.append(read_searches(folder))
    assert found[0] == found[1]


def test_a_killed_search_goes_on_as_if_undisturbed(tmp_path: Path) -> None:
    command = ("optimizer=adam", *CHEAP, "search=lr_wd", "search.trials=9", "search.widen=false", "seeds=1")
    calm, rough = tmp_path / "calm", tmp_path / "rough"
    calm.mkdir()
    rough.mkdir()
    assert run_bench(*command, cwd=calm).returncode == 0
    for _ in range(2):
        killed = start_bench("-v", *command, cwd=rough)
        killed.wait_for("\n[", num=3)
        killed.send_signal(signal.SIGKILL)
        assert killed.wait().returncode == -signal.SIGKILL
    trained = {path.stat().st_mtime_ns for path in (rough / "results").rglob("result.json")}
    assert run_bench(*command, cwd=rough).returncode == 0
    assert trained <= {path.stat().st_mtime_ns for path in (rough / "results").rglob("result.json")}
    [undisturbed], [resumed] = read_searches(calm), read_searches(rough)
    assert len(resumed.trials) == 9
    assert resumed == undisturbed


def test_two_processes_share_one_search(tmp_path: Path) -> None:
    command = (
        "optimizer=adam",
        *CHEAP,
        "search.trials=11",
        "search.widen=false",
        "seeds=1",
        "search.confirm=0",
    )
    for started in [start_bench(*command, cwd=tmp_path) for _ in range(2)]:
        done = started.wait()
        assert done.returncode == 0, done.stderr
    [search] = read_searches(tmp_path)
    assert sorted(trial.number for trial in search.trials) == list(range(11))
    assert len({trial.params["optimizer.lr"] for trial in search.trials}) == 11
    assert all(
        loss is not None or trial.params["optimizer.lr"] for trial in search.trials for loss in trial.losses
    )
    assert len(list((tmp_path / "results").rglob("result.json"))) == 11 + 1


@pytest.mark.thorough
def test_a_lost_journal_costs_no_training(tmp_path: Path) -> None:
    command = ("optimizer=adam", *CHEAP, "search.trials=5", "search.widen=false", "seeds=1")
    assert run_bench(*command, cwd=tmp_path).returncode == 0
    before = read_searches(tmp_path)
    for journal in (tmp_path / "results" / "studies").iterdir():
        journal.unlink()
    done = run_bench(*command, cwd=tmp_path, is_watched=True)
    assert "torch not imported" in done.stderr
    assert read_searches(tmp_path) == before


@pytest.mark.thorough
def test_more_trials_extend_and_an_interval_replaces_the_range(tmp_path: Path) -> None:
    small = ("optimizer=adam", *CHEAP, "search.widen=false", "seeds=1")
    assert run_bench(*small, "search.trials=3", cwd=tmp_path).returncode == 0
    [three] = read_searches(tmp_path)
    stored = set((tmp_path / "results").rglob("result.json"))
    done = run_bench(*small, "search.trials=5", cwd=tmp_path)
    [five] = read_searches(tmp_path)
    assert "search: 5 runs in 1 study; 3 cached" in done.stderr
    assert [trial.params for trial in five.trials[:3]] == [trial.params for trial in three.trials]
    assert len(five.trials) == 5 and stored < set((tmp_path / "results").rglob("result.json"))
    interval = "optimizer.lr=tag(log,interval(1e-3,1e-1))"
    assert run_bench(*small, "search.trials=3", interval, cwd=tmp_path).returncode == 0
    [search] = read_searches(tmp_path)
    assert sorted(trial.params["optimizer.lr"] for trial in search.trials) == [1e-3, 1e-2, 1e-1]


def test_seeds_auto_stops_by_itself(tmp_path: Path) -> None:
    done = run_bench(
        "-m", "optimizer=sgd,adam", *CHEAP, "seeds=auto", "seeds.limit=10", "search=none", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    numbers = [len(results) for results in read_sweep(tmp_path / "results").results]
    assert numbers[0] == numbers[1] and 5 <= numbers[0] <= 10


def test_horizons_are_arenas_of_their_own(tmp_path: Path) -> None:
    done = run_bench(
        "-m", "optimizer=sgd,adam", *CHEAP, "horizons=[0.5,1]", "seeds=3", "search.trials=3",
        "search.widen=false", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    sweep = read_sweep(tmp_path / "results")
    assert (
        sorted((s.study.horizon, s.study.budget.steps) for s in sweep.studies)
        == [(0.5, 20)] * 2 + [(1, 40)] * 2
    )
    assert "at 0.5x" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "line"),
    few(
        [
            (["search.trials=0"], "search.trials: wants a whole number >= 1, got 0"),
            (["search.sampler=gird"], "did you mean 'grid'?"),
            (
                ["search.space.optimizer.lr={low:0.1,high:0.01,log:true}"],
                "search.space.optimizer.lr: wants low < high",
            ),
            (
                ["search.space.optimizer.lr={low:0.1,high:0.1,log:true}"],
                "search.space.optimizer.lr: wants low < high",
            ),
            (["search.space.model.dropuot=[0,0.1]"], "did you mean 'model.dropout'?"),
            (["search.storage=postgresql://nobody:secret@127.0.0.1:1/none"], "search.storage: can't open"),
            (["search.storage=nonsense"], "search.storage: can't open"),
            (
                ["search=none", "optimizer.lr=interval(0.1,1.0)"],
                "optimizer.lr: search=none varies nothing",
            ),
            (["seeds=many"], "seeds.num: wants a whole number >= 1 or 'auto', got 'many'"),
            (["seeds.vary=[weather]"], "seeds.vary"),
            (
                ["workload=gaussian_mlp", "seeds.vary=[split]"],
                "seeds.vary: split wants data with a split_seed",
            ),
            (["horizons=0"], "horizons: wants a number > 0, got 0"),
        ],
        4,
    ),
)
def test_a_wrong_search_is_one_line(arguments: list[str], line: str, tmp_path: Path) -> None:
    start_s = time.monotonic()
    done = run_bench(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1 and line in done.stderr
    assert "secret" not in done.stderr
    assert time.monotonic() - start_s < 30
    assert not list(tmp_path.rglob("result.json"))
