"""What looking at gradients costs at the default schedule: steps with and without it, in turns."""

from __future__ import annotations

import timeit

import msgspec
import pytest

from bench.cost import Phase
from bench.engine.member import Member
from bench.engine.population import Population
from bench.engine.single import Single
from bench.health import Watching
from bench.meter.interleave import Arm, compare, median_interval, take_turns
from bench.meter.time import collector_off
from tests.composing import compose_run

# Of the time of a step.
MOST = 0.02
ROUNDS, MOST_BATCHES = 30, 4


def make_arm(workload: str, watching: Watching, optimizer: str, num_members: int) -> Arm:
    """Return the steps of one run, or of a population."""
    run = msgspec.structs.replace(compose_run(f"optimizer={optimizer}", workload=workload), watch=watching)
    engine: Single | Population
    if num_members == 1:
        engine = Single(run)
    else:
        members = [Member(msgspec.structs.replace(run, seed=seed)) for seed in range(num_members)]
        engine = Population(members, members[0].data)

    def step(number: int) -> None:
        engine.step(number % run.budget.steps)
        engine.take_samples()

    return Arm(step=step)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize(
    ("workload", "block_steps", "num_members"),
    [
        ("digits_mlp", 40, 1),
        ("photo_mlp", 20, 1),
        ("kjv_gpt", 2, 1),
        ("digits_mlp", 20, 8),
        ("photo_mlp", 5, 8),
    ],
)
def test_a_watched_run_takes_hardly_longer(
    workload: str, block_steps: int, num_members: int, optimizer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A sample costs a part of a step; one in a hundred is one at most, and each is asked whether it is."""
    every = Watching(name="full", samples=10**6, share=1.0)
    kinds = (Watching(), every)
    arms = [make_arm(workload, watching, optimizer, num_members) for watching in kinds]
    light = compose_run(workload=workload).watch
    asking_s = time_asking(workload)
    for arm in arms:
        arm.take(5)
    for _ in range(MOST_BATCHES):
        with collector_off():
            take_turns(arms, num_rounds=ROUNDS, block_steps=[block_steps] * 2, device="cpu")
        sample, step_s = compare(arms[1], arms[0]), median_interval(arms[0].block_means_s())[0]
        low, cost, high = (
            asking_s / step_s + light.share * (ratio - 1)
            for ratio in (sample.low, sample.median, sample.high)
        )
        if high <= MOST or low > MOST:
            break
    with capsys.disabled():
        print(
            f"\n{workload} {optimizer} K={num_members}: step {step_s * 1e3:.2f} ms; "
            f"a sample takes {sample.median - 1:.2f} of it [{sample.low - 1:.2f}, {sample.high - 1:.2f}], "
            f"asking {asking_s * 1e6:.2f} us; in all {cost:.2%} [{low:.2%}, {high:.2%}]"
        )
    assert cost <= MOST


def time_asking(workload: str) -> float:
    """Return what the marks of a step cost where nothing is due, in seconds."""
    run = compose_run(workload=workload)
    single = Single(msgspec.structs.replace(run, watch=Watching(name="light", samples=1, share=1.0)))
    mark = single.engine.mark
    assert mark is not None and single.engine.position == 0
    phases: tuple[Phase, ...] = ("data", "forward", "backward", "optimizer")
    return min(timeit.repeat(lambda: [mark(phase) for phase in phases], number=1000)) / 1000
