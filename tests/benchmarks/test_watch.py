"""What looking at gradients costs at the default schedule: steps with and without it, in turns."""

from __future__ import annotations

import msgspec
import pytest

from bench.engine.single import Single
from bench.health import Watching
from bench.meter.interleave import Arm, compare, take_turns
from bench.meter.time import collector_off
from tests.composing import compose_run

# Of the time of a step.
MOST = 0.02
ROUNDS, MOST_BATCHES = 30, 4


def make_arm(workload: str, watching: Watching, optimizer: str) -> Arm:
    run = compose_run(f"optimizer={optimizer}", workload=workload)
    single = Single(msgspec.structs.replace(run, watch=watching))

    def step(number: int) -> None:
        # Never the middle, which is where a single sample lies.
        single.step(number % (run.budget.steps // 2))
        single.take_samples()

    return Arm(step=step)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize(("workload", "block_steps"), [("digits_mlp", 40), ("photo_mlp", 20), ("kjv_gpt", 2)])
def test_a_watched_run_takes_hardly_longer(
    workload: str, block_steps: int, optimizer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A sample costs so many steps, and one step in a hundred is one; whether to look is asked at each."""
    every = Watching(name="full", samples=10**6, share=1.0)
    # Its only sample is the middle step, which is not taken here.
    none_due = Watching(name="light", samples=1, share=1.0)
    arms = [make_arm(workload, watching, optimizer) for watching in (Watching(), none_due, every)]
    light = compose_run(workload=workload).watch
    for arm in arms:
        arm.take(5)
    for _ in range(MOST_BATCHES):
        with collector_off():
            take_turns(arms, num_rounds=ROUNDS, block_steps=[block_steps] * 3, device="cpu")
        asked, sampled = compare(arms[1], arms[0]), compare(arms[2], arms[0])
        low, cost, high = (
            one - 1 + light.share * (other - 1)
            for one, other in zip(
                (asked.low, asked.median, asked.high),
                (sampled.low, sampled.median, sampled.high),
                strict=True,
            )
        )
        if high <= MOST or low > MOST:
            break
    with capsys.disabled():
        print(
            f"\n{workload} {optimizer}: a sample takes {sampled.median - 1:.2f} steps "
            f"[{sampled.low - 1:.2f}, {sampled.high - 1:.2f}]; in all {cost:.2%} [{low:.2%}, {high:.2%}]"
        )
    assert cost <= MOST
