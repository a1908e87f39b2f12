"""Runs the peers and this harness side by side on one grid, and counts the runs per hour of each.

python -m tests.benchmarks.peers [workload] [rounds] [arm ...]
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
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
    """What a command took: CPU seconds of all its processes, and seconds by the clock on the wall."""

    num_runs: int
    cpu_s: float
    # Of them, within the training loops.
    loop_s: float
    wall_s: float

    def spread_s(self) -> float:
        """Return the CPU seconds of a run in a grid of all runs, which pays once for what is no loop."""
        return (self.cpu_s - self.loop_s) / NUM_RUNS + self.loop_s / self.num_runs


def call(folder: Path, workload: str, *command: str) -> tuple[float, float]:
    """Run a Python command to its end, and wait for whatever it leaves; return CPU and wall seconds."""
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
    before, start = read_cpu_s(), time.perf_counter()
    with open(folder / "said", "w", encoding="utf-8") as said:
        done = subprocess.run([sys.executable, *command], cwd=folder, env=env, stdout=said, stderr=said)
    wall_s = time.perf_counter() - start
    # Those whose parents ended are this process's children by now: their time counts once they ended, too.
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()
    if done.returncode:
        tail = (folder / "said").read_text(encoding="utf-8")[-2000:]
        raise RuntimeError(f"{' '.join(command)}: ended with {done.returncode}\n{tail}")
    return read_cpu_s() - before, wall_s


def read_cpu_s() -> float:
    """Return the CPU seconds of all ended descendants."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parents end (Linux): their times are then this one's."""
    PR_SET_CHILD_SUBREAPER = 36
    assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0


def time_peer(folder: Path, workload: str, *command: str) -> Took:
    """Time a peer's command over a part of the grid."""
    (folder / "log").write_text("")
    cpu_s, wall_s = call(folder, workload, *command)
    runs = [json.loads(line) for line in (folder / "log").read_text().splitlines()]
    loop_s = sum(run["cpu_s"] for run in runs)
    if "ray" in command[1]:
        # Its node has the system bury the workers, and no parent learns of their times.
        cpu_s += sum({run["pid"]: run["process_s"] for run in runs}.values())
    return Took(len(runs), cpu_s, loop_s, wall_s)


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
    """Return what times this harness over the grid, its report included, from an empty folder."""

    def measure(folder: Path, workload: str) -> Took:
        with tempfile.TemporaryDirectory(dir=folder) as results:
            asked = (
                f"workload={workload}", f"optimizer={OPTIMIZERS}", f"optimizer.lr={LRS}", f"seeds={SEEDS}",
                "search=none", "meter=none", f"engine={engine}", f"place.workers={WORKERS}",
                f"place.results={results}",
            )  # fmt: skip
            cpu_s, wall_s = call(folder, workload, "-m", "bench", "-q", "-m", *asked)
            found = list(Path(results).glob("runs/**/result.json"))
        assert len(found) == NUM_RUNS, f"{len(found)} of {NUM_RUNS} runs settled"
        return Took(NUM_RUNS, cpu_s, cpu_s, wall_s)

    return measure


ARMS: dict[str, Callable[[Path, str], Took]] = {
    "engine=auto": time_ours("auto"),
    "engine=eager": time_ours("eager"),
    "hydra": time_hydra,
    "optuna": time_listed("optuna_loop"),
    "ray, actors reused": time_listed("ray_tune", "reuse"),
    "ray": time_listed("ray_tune", "anew"),
}


def main(workload: str = "mnist1d_mlp", rounds: str = "3", *names: str) -> None:
    """Let the arms take turns, and print runs per hour of a core, and those of this harness over others'."""
    adopt_orphans()
    took: dict[str, list[Took]] = {name: [] for name in names or ARMS}
    with tempfile.TemporaryDirectory(prefix="peers") as place:
        folder = Path(place)
        run = compose_run("optimizer=sgd", workload=workload)
        (folder / f"{workload}.json").write_bytes(msgspec.json.encode(run))
        for number in range(int(rounds)):
            for name in took if number % 2 == 0 else reversed(took):
                took[name].append(one := ARMS[name](folder, workload))
                print(
                    f"{workload} round {number + 1} {name}: {one.num_runs} runs in {one.cpu_s:.1f} CPU s, "
                    f"{one.loop_s:.1f} of them in loops; {one.wall_s:.1f} s by the wall clock",
                    flush=True,
                )
    print(f"{workload}: runs per hour of a core, over the whole grid | in the training loops alone")
    for name, each in took.items():
        whole = [3600 / one.spread_s() for one in each]
        loops = [3600 * one.num_runs / one.loop_s for one in each]
        print(f"{name:20s} {show(whole, 0)} | {show(loops, 0)}")
    for name in (name for name in took if name.startswith("engine")):
        for other in (other for other in took if other != name):
            pairs = list(zip(took[other], took[name], strict=True))
            costs = [(a.spread_s(), a.loop_s / a.num_runs, b.cpu_s / b.num_runs) for a, b in pairs]
            whole, loops = [a / c for a, _, c in costs], [b / c for _, b, c in costs]
            print(f"{name} over {other}: {show(whole, 1)}; over its loops alone {show(loops, 1)}")


def show(values: Sequence[float], digits: int) -> str:
    """Return the median and the range."""
    return f"{statistics.median(values):.{digits}f} [{min(values):.{digits}f}, {max(values):.{digits}f}]"


if __name__ == "__main__":
    main(*sys.argv[1:])
