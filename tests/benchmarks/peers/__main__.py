"""Runs the peers and this harness side by side on one grid, and counts the runs per hour of each.

python -m tests.benchmarks.peers [workload] [rounds] [arm ...]
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec

from tests.composing import compose_run

OPTIMIZERS = "sgd,momentum,adam,adamw"
LRS = "1e-4,3e-4,1e-3,3e-3,1e-2,3e-2,1e-1,3e-1,1.0"
WORKERS = 2
SEEDS = 5
NUM_RUNS = 4 * 9 * SEEDS
# What peers train of the grid, with one seed: half a minute or so of their time.
PEER_LRS = "3e-4,1e-2,3e-1"
ROOT = Path(__file__).parents[3]


class Took(NamedTuple):
    """What a command took: the whole of it, and from its first run's start to its last one's end."""

    num_runs: int
    whole_s: float
    inside_s: float

    def spread_s(self) -> float:
        """Return the seconds of the whole grid: the start once, the rest as often as the grid is larger."""
        return self.whole_s - self.inside_s + self.inside_s * NUM_RUNS / self.num_runs


def call(folder: Path, workload: str, *command: str) -> float:
    """Run a Python command to its end; return the seconds."""
    env = os.environ | {
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "PEERS_TASK": str(folder / f"{workload}.json"),
        "PEERS_LOG": str(folder / "log"),
        # What a Ray of one's own machine needs neither of: a token in the home folder, and news.
        "RAY_AUTH_MODE": "disabled",
        "RAY_USAGE_STATS_ENABLED": "0",
        "HOME": str(folder),
    }
    start = time.perf_counter()
    with open(folder / "said", "w", encoding="utf-8") as said:
        done = subprocess.run([sys.executable, *command], cwd=folder, env=env, stdout=said, stderr=said)
    took = time.perf_counter() - start
    if done.returncode:
        tail = (folder / "said").read_text(encoding="utf-8")[-2000:]
        raise RuntimeError(f"{' '.join(command)}: ended with {done.returncode}\n{tail}")
    return took


def time_peer(folder: Path, workload: str, *command: str) -> Took:
    """Time a peer's command over a part of the grid."""
    (folder / "log").write_text("")
    whole_s = call(folder, workload, *command)
    runs = [json.loads(line) for line in (folder / "log").read_text().splitlines()]
    inside_s = max(run["end"] for run in runs) - min(run["start"] for run in runs)
    return Took(len(runs), whole_s, inside_s)


def time_hydra(folder: Path, workload: str) -> Took:
    """Time a Hydra application, its jobs side by side by the joblib launcher."""
    grid = (f"+optimizer={OPTIMIZERS}", f"+lr={PEER_LRS}", "+seed=0")
    launcher = (
        "hydra/launcher=joblib",
        f"hydra.launcher.n_jobs={WORKERS}",
        f"hydra.sweep.dir={folder}/sweep",
    )
    return time_peer(folder, workload, "-m", "tests.benchmarks.peers.hydra_sweep", "-m", *grid, *launcher)


def time_listed(module: str, *more: str) -> Callable[[Path, str], Took]:
    """Return what times a peer that takes its grid as lists."""
    command = ("-m", f"tests.benchmarks.peers.{module}", OPTIMIZERS, PEER_LRS, "0", str(WORKERS), *more)
    return lambda folder, workload: time_peer(folder, workload, *command)


def time_ours(engine: str) -> Callable[[Path, str], Took]:
    """Return what times this harness over the whole grid, its report included, from an empty folder."""

    def measure(folder: Path, workload: str) -> Took:
        with tempfile.TemporaryDirectory(dir=folder) as results:
            asked = (
                f"workload={workload}", f"optimizer={OPTIMIZERS}", f"optimizer.lr={LRS}", f"seeds={SEEDS}",
                "search=none", "meter=none", f"engine={engine}", f"place.workers={WORKERS}",
                f"place.results={results}",
            )  # fmt: skip
            whole_s = call(folder, workload, "-m", "bench", "-q", "-m", *asked)
            found = list(Path(results).glob("runs/*/*/result.json"))
        assert len(found) == NUM_RUNS, f"{len(found)} of {NUM_RUNS} runs settled"
        return Took(NUM_RUNS, whole_s, whole_s)

    return measure


ARMS: dict[str, Callable[[Path, str], Took]] = {
    "hydra": time_hydra,
    "ray": time_listed("ray_tune", "anew"),
    "ray, actors reused": time_listed("ray_tune", "reuse"),
    "optuna": time_listed("optuna_loop"),
    "engine=eager": time_ours("eager"),
    "engine=auto": time_ours("auto"),
}


def main(workload: str = "mnist1d_mlp", rounds: str = "3", *names: str) -> None:
    """Let the arms take turns, and print runs per hour, and those of this harness over the others'."""
    took: dict[str, list[Took]] = {name: [] for name in names or ARMS}
    with tempfile.TemporaryDirectory(prefix="peers") as place:
        folder = Path(place)
        run = compose_run("optimizer=sgd", workload=workload)
        (folder / f"{workload}.json").write_bytes(msgspec.json.encode(run))
        for number in range(int(rounds)):
            for name in took if number % 2 == 0 else reversed(took):
                took[name].append(one := ARMS[name](folder, workload))
                print(
                    f"{workload} round {number + 1} {name}: {one.num_runs} runs in {one.whole_s:.1f} s, "
                    f"{one.inside_s:.1f} s of it from first to last run",
                    flush=True,
                )
    print(f"{workload}: runs per hour over {NUM_RUNS} runs, whole command | from the first run to the last")
    for name, each in took.items():
        whole = [3600 * NUM_RUNS / one.spread_s() for one in each]
        inside = [3600 * one.num_runs / one.inside_s for one in each]
        print(
            f"{name:20s} {statistics.median(whole):9.0f} [{min(whole):.0f}, {max(whole):.0f}] | "
            f"{statistics.median(inside):9.0f} [{min(inside):.0f}, {max(inside):.0f}]"
        )
    for name in took:
        if name.startswith("engine") and len(took) > 1:
            ratios = {
                other: [
                    theirs.spread_s() / ours.spread_s()
                    for theirs, ours in zip(took[other], took[name], strict=True)
                ]
                for other in took
                if other != name
            }
            shown = ", ".join(
                f"{statistics.median(each):.1f} x {other} [{min(each):.1f}, {max(each):.1f}]"
                for other, each in ratios.items()
            )
            print(f"{name}: {shown}")


if __name__ == "__main__":
    main(*sys.argv[1:])
