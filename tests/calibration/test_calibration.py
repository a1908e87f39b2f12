"""An optimizer compared with itself through two studies is called better or worse in at most 5 % of cases."""

from __future__ import annotations

import numpy as np
import pytest

from tests.calibration.pool import OPTIMIZERS, WORKLOADS, Losses, Pool, load_pool, measure
from tests.calibration.replay import CLAIMS, OFFSETS, Replay, draw_seeds, judge_auto, judge_fixed, replay

NUM_PAIRS = 400
# Of 400 pairs at a true rate of 5 %, more than this happen in about 2.5 % of cases.
MOST_FALSE = 29


@pytest.fixture(scope="module")
def pool() -> Pool:
    return load_pool()


def draw_pairs(one: Losses, other: Losses | None = None) -> list[tuple[Replay, Replay]]:
    """Return pairs of studies: of one optimizer, searched twice; or of two that share their search seeds."""
    rng = np.random.default_rng(0)
    pairs = []
    for _ in range(NUM_PAIRS):
        mine, its, seeds = draw_seeds(rng)
        rival = replay(one, its, seeds) if other is None else replay(other, mine, seeds)
        pairs.append((replay(one, mine, seeds), rival))
    return pairs


def count_claims(pairs: list[tuple[Replay, Replay]], num: int | None, *, is_plain: bool = False) -> int:
    """Return how many pairs are called better or worse at this many seeds; None: under seeds=auto."""
    words = [
        judge_auto(mine, other)[0] if num is None else judge_fixed(mine, other, num, is_plain=is_plain)
        for mine, other in pairs
    ]
    return sum(word in CLAIMS for word in words)


def synthesise(gap: float) -> Losses:
    """Return losses of a pool on which two lrs differ by so many standard deviations of a seed's noise."""
    rng = np.random.default_rng(round(100 * gap))
    means = {0: 0.0, 1: 0.1 * gap}
    losses: Losses = {}
    for offset in OFFSETS:
        logs = means.get(offset, 2.0 + abs(offset)) + 0.1 * rng.standard_normal((60, 2))
        losses[str(offset)] = [(float(np.exp(a)), float(np.exp(b))) for a, b in logs]
    return losses


@pytest.mark.parametrize("num", [5, 20, None], ids=["n=5", "n=20", "auto"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("workload", WORKLOADS)
def test_an_optimizer_hardly_ever_beats_itself(
    pool: Pool, workload: str, optimizer: str, num: int | None
) -> None:
    assert count_claims(draw_pairs(pool[workload][optimizer]), num) <= MOST_FALSE


@pytest.mark.parametrize("gap", [0.3, 0.6, 0.9, 1.2, 1.8])
def test_nor_where_a_search_errs_most(gap: float) -> None:
    pairs = draw_pairs(synthesise(gap))
    assert max(count_claims(pairs, num) for num in (5, 20, 40, None)) <= MOST_FALSE


def test_without_the_search_in_the_interval_it_would(pool: Pool) -> None:
    # Otherwise the tests above could not fail.
    pairs = draw_pairs(pool["digits_mlp"]["adam"])
    assert count_claims(pairs, 20, is_plain=True) > 2 * MOST_FALSE


@pytest.mark.parametrize("num", [5, 20, None], ids=["n=5", "n=20", "auto"])
def test_a_real_difference_is_still_seen(pool: Pool, num: int | None) -> None:
    arena = pool["gaussian_mlp"]
    assert count_claims(draw_pairs(arena["adam"], arena["sgd"]), num) >= 0.95 * NUM_PAIRS


def test_a_small_difference_is_seen_less_often_than_without_a_search(pool: Pool) -> None:
    arena = pool["digits_mlp"]
    pairs = draw_pairs(arena["adam"], arena["sgd"])
    honest, plain = count_claims(pairs, 20), count_claims(pairs, 20, is_plain=True)
    assert 0.4 * NUM_PAIRS <= honest < plain


@pytest.mark.slow
def test_the_pool_is_what_the_code_gives(pool: Pool) -> None:
    for workload in WORKLOADS:
        for name in OPTIMIZERS:
            for offset, losses in measure(workload, name, (-1, 0, 1), range(3)).items():
                for found, kept in zip(losses, pool[workload][name][offset], strict=False):
                    place = (workload, name, offset)
                    if None in kept:
                        assert found == (None, None), place
                    else:
                        # Other machines round otherwise, and 300 steps carry that along.
                        assert found == pytest.approx(tuple(kept), rel=0.02), place
