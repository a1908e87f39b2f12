"""What counts lr range tests that hold the tuned lr counts no pair of which the tuned lr is not known."""

from __future__ import annotations

from typing import Literal

import pytest

from bench.effort import LrRange, RangeTest
from bench.result import SearchRecord, TrialRecord
from bench.search.space import LR
from tests.benchmarks.lr_range import Pair, write_counts, write_matrix, write_rows

LRS = (0.001, 0.01, 0.1, 1.0)


def make_pair(
    best: int | None,
    found: tuple[float, float, float] | None,
    optimizer: str = "sgd",
    edge: Literal["low", "high"] | None = None,
) -> Pair:
    """Return a pair whose search chose the best-th lr, and whose tests gave suggested, low and high."""
    trials = tuple(
        TrialRecord(
            number=number, params={LR: lr}, runs=("a",), losses=(1.2 + abs(number - (best or 0)),),
            is_confirmed=True, round=0,
        )
        for number, lr in enumerate(LRS)
    )  # fmt: skip
    search = SearchRecord(
        sampler="grid", space={}, trials=trials, best=best, edge=edge, num_widened=3, is_final=True
    )
    suggested, low, high = found or (None, None, None)
    test = RangeTest(
        runs=("b",), lrs=LRS, losses=(LRS,), num_steps=100, suggested=suggested, low=low, high=high
    )
    declared = LrRange(default=0.01, low=0.001, high=0.1, source="test")
    return Pair("task", optimizer, declared, search, test)


@pytest.mark.parametrize(
    ("found", "is_inside", "is_in_grid"),
    [
        ((0.01, 0.01, 0.1), True, True),
        ((0.001, 0.0001, 0.05), False, True),
        ((1.0, 0.2, 10.0), False, True),
        ((2.0, 0.02, 20.0), True, False),
        (None, False, False),
    ],
)
def test_where_the_tuned_lr_lies(
    found: tuple[float, float, float] | None, is_inside: bool, is_in_grid: bool
) -> None:
    pair = make_pair(2, found)
    assert (pair.tuned, pair.unknown) == (0.1, None)
    assert (pair.is_inside, pair.is_in_grid) == (is_inside, is_in_grid)


def test_a_miss_says_how_far_it_is_and_what_it_costs() -> None:
    assert make_pair(2, None).explain() == "the loss never fell in its test"
    # 0.01 is a place from the best one, whose loss is 1.2, so 1.0 worse.
    above = make_pair(2, (0.001, 0.0001, 0.05)).explain()
    assert above == "0.30 decades above the range, in which 0.01 is best: a loss +83.3 %"
    below = make_pair(1, (0.5, 0.2, 0.6)).explain()
    assert below == "1.30 decades below the range, in which nothing finished"


def test_what_is_not_known_does_not_count() -> None:
    held, missed = make_pair(2, (0.01, 0.001, 1.0)), make_pair(2, (0.001, 0.0001, 0.05), "adam")
    # At the edge of what was tried, at the edge of the first pass, and without a run that finished.
    unknown = [
        make_pair(3, (0.1, 0.01, 1.0)),
        make_pair(2, (0.1, 0.01, 1.0), edge="high"),
        make_pair(None, None),
    ]
    assert all(one.unknown for one in unknown)
    pairs = [held, missed, *unknown]
    assert write_counts(pairs)[2:] == [
        "| sgd | 1 of 1 | 1 of 1 | 1 of 1 | 3.00 | 1.00 | 1.00 |",
        "| adam | 0 of 1 | 1 of 1 | 1 of 1 | 2.70 | 2.00 | 2.00 |",
        "| all | 1 of 2 | 2 of 2 | 2 of 2 | 2.85 | 1.50 | 2.00 |",
    ]
    assert write_counts(unknown[:1])[2] == "| sgd | 0 of 0 | 0 of 0 | 0 of 0 | – | – | – |"  # noqa: RUF001
    assert not make_pair(3, (0.1, 0.01, 1.0)).is_declared
    assert write_matrix([held, missed, unknown[0]._replace(optimizer="lion")])[2:] == [
        "| task | -1.00 | **-2.00** | (-1.00) |"
    ]
    assert [row.split(" | ")[6] for row in write_rows(pairs)][:2] == ["yes", "**no**"]
