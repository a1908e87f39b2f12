"""Runs per second and memory of a population, by its number of members: where more of them stop to help.

python -m tests.benchmarks.knee [cpu|cuda] [workload ...]
"""

from __future__ import annotations

import gc
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

import msgspec
import torch

from bench.engine.member import Member
from bench.engine.population import Population
from bench.engine.single import Single
from bench.errors import Unsupported
from bench.spec import Compile, Run
from bench.together import limit_members
from tests.benchmarks.test_population import make_runs
from tests.composing import compose_run

# A small one of each kind: bound by overhead, by convolutions, by attention.
WORKLOADS = {
    "digits_mlp": ("budget.batch_size=32",),
    "digits_cnn": (),
    "kjv_gpt_short": (),
}
SIZES = (1, 4, 16, 64, 256, 1024)
ROUNDS = 7
# What a block of one arm takes, about, and how many steps it has at least.
BLOCK_S, MIN_STEPS = 0.2, 3


class Arm(NamedTuple):
    """One way to train, and how many runs a step of it serves."""

    step: Callable[[int], object]
    num_runs: int
    num_steps: int

    def time(self, device: str) -> float:
        """Return the seconds of a step of one run."""
        wait(device)
        start = time.perf_counter()
        for number in range(self.num_steps):
            self.step(number)
        wait(device)
        return (time.perf_counter() - start) / self.num_steps / self.num_runs


def wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def make_arm(engine: Single | Population, run: Run, num_runs: int) -> Arm:
    engine.set_mode(is_training=True)
    steps = run.budget.steps
    # As it was seen to work the second time is how it works from then on.
    warm = Arm(lambda number: engine.step(number % steps), num_runs, MIN_STEPS)
    warm.time(run.device)
    step_s = warm.time(run.device) * num_runs
    return warm._replace(num_steps=max(MIN_STEPS, min(500, int(BLOCK_S / step_s))))


def measure_memory(make: Callable[[], object], device: str) -> tuple[object, int | None]:
    """Return what is made, and the bytes that it holds on a CUDA device."""
    if device != "cuda":
        return make(), None
    gc.collect()
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    made = make()
    return made, torch.cuda.memory_allocated() - before


def measure(workload: str, device: str) -> None:
    """Print a line for each number of members: its runs per second over those of the eager engine."""
    words = ("optimizer=adam", *WORKLOADS.get(workload, ()))
    run = compose_run(*words, workload=workload)
    run = msgspec.structs.replace(run, device=device)
    arms = {"eager": make_arm(Single(run), run, 1)}
    if device == "cuda":
        graphed = msgspec.structs.replace(run, compile=Compile(name="model", graphs=True))
        with suppress(Unsupported):
            arms["graphs"] = make_arm(Single(graphed), graphed, 1)
    for num in (size for size in SIZES if size <= limit_members(run)):
        runs = make_runs(num, workload, *words)
        runs = [msgspec.structs.replace(one, device=device) for one in runs]

        def make(runs: list[Run] = runs) -> Population:
            members = [Member(one) for one in runs]
            return Population(members, members[0].data, limit=len(runs))

        try:
            population, held = measure_memory(make, device)
            assert isinstance(population, Population)
            arms["population"] = make_arm(population, run, num)
        except torch.OutOfMemoryError as error:
            print(f"{workload:15s} K={num:<5d} {str(error).splitlines()[0]}", flush=True)
            break
        took: dict[str, list[float]] = {name: [] for name in arms}
        for number in range(ROUNDS):
            for name in list(arms) if number % 2 else list(arms)[::-1]:
                took[name].append(arms[name].time(device))
        per_s = 1 / statistics.median(took["population"])
        line = f"{workload:15s} K={num:<5d} {per_s:10.0f} steps of a run a second"
        for name in (name for name in arms if name != "population"):
            ratios = [other / own for other, own in zip(took[name], took["population"], strict=True)]
            low, median, high = statistics.quantiles(ratios, n=4)
            line += f"; over {name} {median:6.2f} [{low:6.2f}, {high:6.2f}]"
        if device == "cuda":
            peak = torch.cuda.max_memory_allocated()
            torch.cuda.reset_peak_memory_stats()
            line += f"; held {(held or 0) / num / 2**20:.3f} MiB a member, peak {peak / 2**20:.0f} MiB in all"
        print(line, flush=True)
        del population, arms["population"]


def main(device: str = "cpu", *workloads: str) -> None:
    """Measure the workloads, or all of them."""
    torch.set_num_threads(1)
    for workload in workloads or WORKLOADS:
        measure(workload, device)


if __name__ == "__main__":
    main(*sys.argv[1:])
