"""seeds=auto spends its chance of error once, stops when it should, and never runs past its limit."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.stats import ALPHA, list_looks, next_num_seeds, paired_effect, plan_seeds, spend_alpha

LIMITS = st.integers(1, 500)


def draw(seed: int, mean: float, num: int) -> dict[int, float]:
    return dict(enumerate(np.exp(np.random.default_rng(seed).normal(mean, 0.05, num))))


def ask(mine: dict[int, float], other: dict[int, float], current: int, **changes: object) -> int:
    keys = {"margin": 0.02, "selection": {}, "limit": 40} | changes
    losses = {"mine": mine, "other": other}
    return next_num_seeds(losses, "other", "log_ratio", current=current, **keys)  # type: ignore[arg-type]


@given(LIMITS)
def test_looks_rise_to_the_limit(limit: int) -> None:
    looks = list_looks(limit)
    assert list(looks) == sorted(set(looks)) and looks[-1] == limit
    assert list_looks(40) == (5, 10, 20, 40)


@given(LIMITS)
def test_the_looks_together_spend_alpha_and_no_more(limit: int) -> None:
    loud = paired_effect(draw(0, 0.0, 5), draw(1, 0.0, 5), "log_ratio")
    assert loud
    spent = 0.0
    for look in list_looks(limit):
        alpha = plan_seeds({"it": loud}, 1e-9, look, limit).alpha
        assert alpha > 0
        spent += alpha
    assert spent == pytest.approx(ALPHA)
    # A limit lowered afterwards makes what ran the last look.
    late = plan_seeds({"it": loud}, 1e-9, 2 * limit, limit)
    assert late.alpha > 0 and late.num_next == 2 * limit


@given(st.floats(1e-3, 1), st.floats(1e-3, 1))
def test_spending_rises_and_ends_at_alpha(one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert 0 <= spend_alpha(low) <= spend_alpha(high) <= spend_alpha(1.0) == pytest.approx(ALPHA)


def test_spending_by_the_published_formula() -> None:
    # 2 - 2 Phi(1.96 / sqrt(t)) at half of the seeds.
    assert spend_alpha(0.5) == pytest.approx(math.erfc(1.959964 / math.sqrt(0.5) / math.sqrt(2)), rel=1e-5)


def test_an_open_verdict_asks_for_the_next_look_up_to_the_limit() -> None:
    mine, other = draw(0, 0.0, 40), draw(1, 0.0, 40)
    assert [ask(mine, other, num) for num in (5, 7, 10, 20, 40)] == [10, 10, 20, 40, 40]
    assert ask(mine, other, 10, limit=12) == 12
    assert ask(mine, other, 2) == 5 and ask(mine, other, 2, limit=3) == 3


def test_it_stops_when_every_verdict_is_resolved() -> None:
    far, other = draw(0, 1.0, 10), draw(1, 0.0, 10)
    assert ask(far, other, 10) == 10
    assert ask(other, other, 10) == 10
    losses = {"far": far, "near": draw(2, 0.03, 10), "other": other}
    assert next_num_seeds(losses, "other", "log_ratio", 0.02, {}, 10, 40) == 20


def test_it_stops_when_the_search_leaves_more_open_than_the_seeds() -> None:
    mine, other = draw(0, 0.0, 10), draw(1, 0.0, 10)
    assert ask(mine, other, 10, selection={"mine": 0.5}) == 10
    assert ask(mine, other, 10, selection={"mine": 0.001}) == 20
    effect = paired_effect(mine, other, "log_ratio", (0.5,))
    assert effect
    # The last look has all that is left to spend.
    assert plan_seeds({"mine": effect}, 0.02, 10, 40).alpha == pytest.approx(ALPHA - spend_alpha(5 / 40))


def test_who_has_no_mean_asks_for_nothing() -> None:
    mine, other = draw(0, 0.0, 10), draw(1, 0.0, 10)
    del mine[3]
    assert ask(mine, other, 10) == 10
    assert ask(other, mine, 10) == 10
    assert next_num_seeds({"other": other}, "other", "log_ratio", 0.02, {}, 10, 40) == 10
    assert next_num_seeds({"mine": mine}, "other", "log_ratio", 0.02, {}, 10, 40) == 10


@given(st.permutations(["a", "b", "c", "d"]))
def test_the_order_of_labels_changes_nothing(order: list[str]) -> None:
    losses = {label: draw(index, 0.02 * index, 20) for index, label in enumerate("abcd")}
    expected = next_num_seeds(losses, "a", "log_ratio", 0.02, {}, 20, 40)
    shuffled = {label: losses[label] for label in order}
    assert next_num_seeds(shuffled, "a", "log_ratio", 0.02, {}, 20, 40) == expected
