"""Claims follow their rules for any effects: adjusted for each other, and for nothing else."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.stats import (
    Effect,
    adjust_holm,
    count_more_seeds,
    decide,
    is_within_margin,
    paired_effect,
)
from tests.stats.numbers import P_VALUES, PAIRS, split

ARENAS = st.dictionaries(st.text(min_size=1, max_size=3), PAIRS, min_size=1, max_size=6)


def compare(pairs: list[tuple[float, float]], *selection: float) -> Effect:
    effect = paired_effect(*split(pairs), "log_ratio", selection)
    assert effect
    return effect


@given(P_VALUES)
def test_holm_only_raises_and_keeps_the_order(p_values: list[float]) -> None:
    adjusted = adjust_holm(p_values)
    assert all(p <= q <= 1 for p, q in zip(p_values, adjusted, strict=True))
    ranked = sorted(zip(p_values, adjusted, strict=True))
    assert all(low[1] <= high[1] for low, high in pairwise(ranked))


def test_holm_by_hand() -> None:
    assert adjust_holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


@given(PAIRS, st.floats(1e-6, 10), st.floats(1.0, 10))
def test_a_wider_margin_ties_no_less(pairs: list[tuple[float, float]], margin: float, factor: float) -> None:
    effect = compare(pairs)
    assert is_within_margin(effect, margin) <= is_within_margin(effect, margin * factor)
    few, many = count_more_seeds(effect, margin * factor), count_more_seeds(effect, margin)
    assert many is None or (few is not None and few <= many)


@given(PAIRS, st.floats(1e-3, 1), st.floats(1e-3, 1))
def test_no_number_of_seeds_outruns_the_search(
    pairs: list[tuple[float, float]], margin: float, selection: float
) -> None:
    effect = compare(pairs, selection)
    more = count_more_seeds(effect, margin)
    assert not effect.selection or selection < margin or more is None


@given(ARENAS, st.randoms(), st.floats(1e-3, 1))
def test_claims_know_no_order(
    arena: dict[str, list[tuple[float, float]]], rng: object, margin: float
) -> None:
    effects = {label: compare(pairs) for label, pairs in arena.items()}
    assert isinstance(rng, random.Random)
    shuffled = list(effects.items())
    rng.shuffle(shuffled)
    assert decide(dict(shuffled), margin) == decide(effects, margin)


@given(ARENAS, st.floats(1e-3, 1))
def test_a_third_optimizer_reaches_a_claim_through_holm_only(
    arena: dict[str, list[tuple[float, float]]], margin: float
) -> None:
    effects = {label: compare(pairs) for label, pairs in arena.items()}
    together = decide(effects, margin)
    for label, effect in effects.items():
        alone = decide({label: effect}, margin)[label]
        assert alone.p_holm <= together[label].p_holm
        # Company turns better into leaning better, and nothing else.
        assert together[label].word in (alone.word, f"leaning {alone.word}")


@given(PAIRS, st.floats(1e-3, 1))
def test_tied_wins_over_better_and_worse(pairs: list[tuple[float, float]], margin: float) -> None:
    effect = compare(pairs)
    word = decide({"it": effect}, margin)["it"].word
    assert effect.p is not None
    if is_within_margin(effect, margin):
        assert word == "tied"
    else:
        assert word == ("inconclusive" if effect.p >= 0.05 else "better" if effect.mean < 0 else "worse")


def test_too_few_pairs_carry_no_claim_and_cost_the_others_nothing() -> None:
    effects = {"two": compare([(1.0, 2.0)] * 2), "three": compare([(1.0, 2.0), (1.0, 2.1), (1.0, 2.2)])}
    assert decide(effects, 0.01) == decide({"three": effects["three"]}, 0.01)
