"""A run has one owner at a time; a dead one's is taken over, and one that only seemed dead changes no row."""

from __future__ import annotations

import json
import multiprocessing
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from bench import owner
from bench.claims import Claims
from bench.dispatch import Dispatch
from bench.result import Result
from bench.store import Store
from bench.wanted import Wanted
from bench.workers import Workers
from tests.commands import REPOSITORY, read_sweep, start_bench, write_optimizer
from tests.records import MACHINE, make_result, make_run
from tests.test_workers import make_villain


def test_a_claim_is_anothers_only_once_it_is_given_up(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with Claims(tmp_path) as mine, Claims(tmp_path) as yours:
        assert mine.take(folder) and mine.take(folder)
        assert not yours.take(folder)
        mine.release(folder)
        assert yours.take(folder) and not mine.take(folder)
    assert sorted(tmp_path.rglob("*")) == [folder]


def test_who_never_claims_leaves_no_trace(tmp_path: Path) -> None:
    with Claims(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


DIE_HOLDING = """
import os, sys
from pathlib import Path
from bench.claims import Claims
root = Path(sys.argv[1])
claims = Claims(root)
assert claims.take(root / "run")
os.kill(os.getpid(), 9)
"""


def test_what_a_killed_process_of_this_host_held_is_taken_over_at_once(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", DIE_HOLDING, str(tmp_path)], cwd=REPOSITORY)
    assert (tmp_path / "run" / "claim.1").exists()
    with Claims(tmp_path) as claims:
        assert claims.take(tmp_path / "run")
        assert (tmp_path / "run" / "claim.2").exists()
        assert len(list((tmp_path / ".owners").iterdir())) == 1
    assert not list((tmp_path / "run").iterdir())


def make_foreign(root: Path, count: int) -> None:
    """Claim `run` as a process of another host, which has counted so far."""
    claim = {"token": "far", "who": owner.myself() | {"host": "elsewhere"}}
    for folder in (root / ".owners", root / "run"):
        folder.mkdir(exist_ok=True)
    (root / ".owners" / "far").write_text(f"{count}\n{json.dumps(claim)}")
    (root / "run" / "claim.1").write_text(json.dumps(claim))


def test_another_hosts_claim_holds_while_it_counts_on_by_our_own_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    make_foreign(tmp_path, 1)
    with Claims(tmp_path, death_s=30.0) as claims:
        for count in range(2, 5):
            assert not claims.take(tmp_path / "run")
            now[0] += 29.0
            make_foreign(tmp_path, count)
        assert not claims.take(tmp_path / "run")
        now[0] += 29.0
        assert not claims.take(tmp_path / "run")
        now[0] += 2.0
        assert claims.take(tmp_path / "run")


def test_an_owner_that_stood_still_returns_and_changes_no_row(tmp_path: Path) -> None:
    store, result = Store(tmp_path), make_result()
    folder = store.run_folder(result.id, MACHINE)
    # It never counts: as if it were stopped.
    with Claims(tmp_path, beat_s=1000.0) as zombie, Claims(tmp_path, death_s=0.1) as heir:
        assert zombie.take(folder) and not heir.take(folder)
        time.sleep(0.2)
        assert heir.take(folder)
        zombie.release(folder)
        assert (folder / "claim.2").exists()
        assert store.publish(result) == result
        late = msgspec.structs.replace(result, train_s=9.0)
        assert store.publish(late) == result
        assert store.find(result.id, MACHINE) == result
        assert store.last_attempt(result.id, MACHINE) == late


def test_a_damaged_claim_does_not_hold_for_ever(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "claim.1").write_bytes(b"\xff{")
    with Claims(tmp_path, death_s=0.1) as claims:
        assert not claims.take(tmp_path / "run")
        time.sleep(0.2)
        assert claims.take(tmp_path / "run")


def _take(root: str, number: int) -> bool:
    claims = Claims(Path(root))
    return claims.take(Path(root) / "run")


def test_of_many_processes_one_has_it(tmp_path: Path) -> None:
    with multiprocessing.get_context("fork").Pool(4) as pool:
        assert sum(pool.starmap(_take, [(str(tmp_path), number) for number in range(4)], 1)) == 1


@pytest.mark.thorough
def test_what_ran_out_of_memory_is_not_tried_with_another_seed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    runs = [make_villain("run_out", seed=0), make_villain("run_out", seed=1), make_run()]
    with Workers() as workers, Claims(tmp_path) as claims:
        wanted = [Wanted(run, MACHINE, 1e9) for run in runs]
        ends = dict(Dispatch(wanted, [], store, workers, claims, lambda: False, print).train())
    assert [ends[number].status for number in range(3)] == ["oom", "oom", "finished"]
    assert ends[1].detail == "not tried: the same cell ran out of memory at lr=0.1 seed=0"
    assert store.last_attempt(ends[1].id, MACHINE) == ends[1]


COUNTING = """
import os, torch
from pathlib import Path

class Counting(torch.optim.SGD):
    def __init__(self, params, lr: float = 0.1):
        super().__init__(params, lr=lr)
        with open(os.environ["COUNTS"], "ab", buffering=0) as file:
            file.write(b"x")
"""


def test_two_sweeps_over_the_same_grid_train_each_run_once(tmp_path: Path) -> None:
    write_optimizer(tmp_path, "Counting", COUNTING)
    counts = tmp_path / "counts"
    sweep = (
        "--config-dir", "more", "-m", "optimizer=counting,sgd", "workload=digits_mlp", "budget=smoke",
        "budget.steps=40", "seeds=10", "meter=none", "report.sections=[]", "place.workers=1",
    )  # fmt: skip
    both = [start_bench(*sweep, cwd=tmp_path, COUNTS=str(counts)) for _ in range(2)]
    for done in [one.wait() for one in both]:
        assert done.returncode == 0, done.stderr
    found = read_sweep(tmp_path / "results")
    studies: list[list[Result]] = found.results
    assert [len(ends) for ends in studies] == [10, 10]
    counted = [
        path
        for path in (tmp_path / "results" / "runs").rglob("result.json")
        if b"counting" in path.read_bytes()
    ]
    assert counts.stat().st_size == len(counted) >= 10 + 9
    assert not list((tmp_path / "results").rglob("attempt.json"))
    assert not list((tmp_path / "results").rglob("claim.*"))
