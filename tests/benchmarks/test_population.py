"""Runs that train together against the same runs one by one, by this thread's own clock."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec
import pytest
import torch

from bench.choice import MARGIN
from bench.engine.member import Member
from bench.engine.population import Population
from bench.engine.single import Single
from bench.pace import measure
from bench.spec import Run
from bench.together import limit_members
from bench.train import train, train_together
from bench.trainee import Trainee
from tests.composing import compose_run
from tests.records import MACHINE

ROUNDS = 15
# What a round of one arm takes, about.
BLOCK_S = 0.03
BATCH_32 = ("budget.batch_size=32",)
WIDE = ("budget.batch_size=128", "model.width=128")
LARGE = ("budget.batch_size=512",)
SIZES = (1, 4, 16, 64, 256)
CASES: list[tuple[str, tuple[str, ...], Sequence[int]]] = [
    ("digits_mlp", BATCH_32, SIZES),
    ("digits_mlp", WIDE, SIZES),
    ("digits_mlp", LARGE, SIZES),
    ("mnist1d_mlp", (), (1, 4, 16, 36, 64)),
    ("photo_mlp", (), (1, 4, 16, 36)),
    ("digits_cnn", (), (1, 4, 16, 36)),
    ("kjv_gpt", (), (1, 4, 16)),
]
NAMES = ["batch_32", "batch_128", "batch_512", "mnist1d", "photo", "cnn", "gpt"]
Timed = Callable[[int], object]


class Compared(NamedTuple):
    """Seconds of a run alone over a member's: median over the rounds, and quartiles."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:5.2f} [{self.low:5.2f}, {self.high:5.2f}]"


def make_runs(num: int, workload: str, *overrides: str) -> list[Run]:
    """Return runs that differ in seed and lr."""
    base = compose_run(*overrides, workload=workload)
    return [
        msgspec.structs.replace(
            base,
            seed=place,
            optimizer=msgspec.structs.replace(base.optimizer, lr=base.optimizer.lr * (0.3 + 0.01 * place)),
        )
        for place in range(num)
    ]


def thread_s(work: Timed, num: int) -> float:
    start = time.thread_time()
    for number in range(num):
        work(number)
    return (time.thread_time() - start) / num


def compare(eager: Timed, together: Timed, num_members: int) -> Compared:
    """Let one run and a population take turns; return eager seconds over a member's, round by round."""
    lengths = []
    for work in (eager, together):
        # As they were seen to work the second time is how they work from then on.
        thread_s(work, 3)
        lengths.append(max(1, min(200, int(BLOCK_S / thread_s(work, 1)))))
    ratios = []
    for number in range(ROUNDS):
        arms = [(eager, lengths[0]), (together, lengths[1])]
        took = [thread_s(*arm) for arm in (arms if number % 2 else arms[::-1])]
        alone_s, all_s = took if number % 2 else took[::-1]
        ratios.append(alone_s * num_members / all_s)
    low, median, high = statistics.quantiles(ratios, n=4)
    return Compared(median, low, high)


def compare_engines(runs: Sequence[Run]) -> tuple[Compared, Compared]:
    """Return the comparison of a training step, and of a validation."""
    single = Single(runs[0])
    members = [Member(run) for run in runs]
    population = Population(members, members[0].data)
    steps = runs[0].budget.steps
    found = []
    for work in (
        lambda engine: lambda number: engine.step(number % steps),
        lambda engine: lambda _: engine.validate("report"),
    ):
        is_training = not found
        for engine in (single, population):
            engine.set_mode(is_training=is_training)
        found.append(compare(work(single), work(population), len(runs)))
    return found[0], found[1]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize(("workload", "overrides", "sizes"), CASES, ids=NAMES)
def test_a_member_costs_less_than_a_run_alone(
    workload: str, overrides: tuple[str, ...], sizes: Sequence[int], capsys: pytest.CaptureFixture[str]
) -> None:
    for num in sizes:
        step, validation = compare_engines(make_runs(num, workload, "optimizer=adam", *overrides))
        with capsys.disabled():
            shown = f"{workload} {' '.join(overrides)}".strip()
            print(f"\n{shown:60s} K={num:<4d} step {step}   validation {validation}", end="")
        if (workload, overrides) == ("digits_mlp", BATCH_32) and num == 64:
            # It was at least 5 each time it was looked at.
            assert step.high > 3


@pytest.mark.parametrize("name", ["sgd", "momentum", "adam", "adamw", "rmsprop", "lion", "muon"])
def test_by_optimizer(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    runs = make_runs(64, "digits_mlp", f"optimizer={name}", *BATCH_32)
    step, _ = compare_engines(runs)
    with capsys.disabled():
        print(f"\ndigits_mlp batch 32, {name:10s} K=64 step {step}", end="")


@pytest.mark.parametrize(
    ("workload", "overrides", "num", "rounds"),
    [
        ("digits_mlp", BATCH_32, 64, 3),
        ("digits_mlp", BATCH_32, 256, 3),
        ("digits_mlp", (), 36, 3),
        ("mnist1d_mlp", ("budget.steps=300",), 36, 3),
        ("photo_mlp", ("budget.steps=100",), 36, 3),
    ],
)
def test_a_whole_training(
    workload: str, overrides: tuple[str, ...], num: int, rounds: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Runs as they are trained, made, traced and evaluated as well; eager ones by a share of them.

    As in a sweep: with more runs than train together at most, one group after the other.
    """
    runs = make_runs(num, workload, "optimizer=adam", *overrides)
    some = runs[:: max(1, num // 6)]
    most = limit_members(runs[0])
    groups = [runs[first : first + most] for first in range(0, num, most)]
    ratios = []
    for number in range(rounds + 1):
        alone_s = thread_s(lambda _: [train(run, MACHINE) for run in some], 1) / len(some)
        all_s = thread_s(
            lambda _: [list(train_together([Trainee(run) for run in group], MACHINE)) for group in groups], 1
        )
        # The first one makes caches.
        if number:
            ratios.append(alone_s * num / all_s)
    with capsys.disabled():
        print(
            f"\n{workload} {' '.join(overrides)} K={num}: a whole training "
            f"{statistics.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}]",
            end="",
        )
    assert min(ratios) > 1 or workload != "digits_mlp"


@pytest.mark.parametrize(
    ("workload", "overrides"), [("digits_mlp", BATCH_32), ("digits_mlp", LARGE), ("kjv_gpt", ())]
)
def test_what_is_chosen_is_not_slower(
    workload: str, overrides: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """The trial that decides, against a measurement of its own: a population that is taken is no slower."""
    runs = make_runs(16, workload, "optimizer=adam", *overrides)
    pace = measure(runs)
    is_taken = pace.population_s is not None and pace.eager_s > MARGIN * pace.population_s
    step, validation = compare_engines(runs)
    with capsys.disabled():
        print(
            f"\n{workload} {' '.join(overrides)}: taken {is_taken}; step {step}, validation {validation}",
            end="",
        )
    # Both quartiles on the other side: beyond what the two measurements may differ by.
    assert not is_taken or step.high > 1
