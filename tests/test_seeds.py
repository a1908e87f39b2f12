"""Seeds of different purposes never meet, and a derived number depends on nothing but its arguments."""

from __future__ import annotations

from bench.seeds import AA_BASE, SEARCH_BASE, derive, evaluation_seeds


def test_more_seeds_only_add() -> None:
    assert evaluation_seeds(3) == evaluation_seeds(5)[:3] == (0, 1, 2)
    assert max(evaluation_seeds(1000)) < SEARCH_BASE < AA_BASE


def test_derived_numbers_are_frozen_and_distinct() -> None:
    # Frozen: these values are in every stored curve.
    assert derive(0, "init") == 7885824881599989479
    numbers = {
        derive(seed, purpose, counter)
        for seed in range(20)
        for purpose in ("init", "order")
        for counter in range(20)
    }
    assert len(numbers) == 800
    assert all(0 <= number < 2**63 for number in numbers)
