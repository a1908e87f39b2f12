"""Whole studies replayed on the pool: a search on some seeds, an evaluation on others, the real verdict."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from bench.result import SearchRecord, TrialRecord
from bench.stats import Effect, decide, list_looks, next_num_seeds, paired_effect, plan_seeds, selection_sd
from tests.calibration.pool import NUM_SEEDS, Losses

MARGIN = 0.02
# The default search: nine lrs, the best three on three seeds.
OFFSETS = range(-4, 5)
NUM_CONFIRMED = 3
NUM_SEARCH_SEEDS = 3
LIMIT = 40
CLAIMS = ("better", "worse")


@dataclass(frozen=True, kw_only=True)
class Replay:
    """One study: what its search found, and the losses at the setting it chose."""

    search: SearchRecord
    losses: dict[int, float]
    selection: float


def draw_seeds(rng: np.random.Generator) -> tuple[list[int], list[int], list[int]]:
    """Return disjoint seeds of the pool: for the search of one side, of the other, and for the evaluation."""
    order = [int(seed) for seed in rng.permutation(NUM_SEEDS)]
    split = NUM_SEARCH_SEEDS
    return order[:split], order[split : 2 * split], order[2 * split : 2 * split + LIMIT]


def replay(pool: Losses, search_seeds: list[int], seeds: list[int]) -> Replay:
    """Return a study by the rules of the default search.

    Args:
        pool: One optimizer's losses on one workload.
        search_seeds: Of the pool; the first one is the first pass's.
        seeds: Of the pool, in order: those of the evaluation.
    """
    tables = {
        number: [pool[str(offset)][seed][0] for seed in search_seeds] for number, offset in enumerate(OFFSETS)
    }
    first = {number: row[0] for number, row in tables.items() if row[0] is not None}
    confirmed = sorted(first, key=lambda number: first[number])[:NUM_CONFIRMED]
    best = min(confirmed, key=lambda number: _average(tables[number]))
    trials = [
        TrialRecord(
            number=number,
            params={"optimizer.lr": 10 ** (OFFSETS[number] / 2)},
            runs=(),
            losses=tuple(row if number in confirmed else row[:1]),
            is_confirmed=number in confirmed,
            round=0,
        )
        for number, row in tables.items()
    ]
    search = SearchRecord(
        sampler="grid", space={}, trials=tuple(trials), best=best, edge=None, num_widened=0, is_final=True
    )
    losses = {}
    for index, seed in enumerate(seeds):
        loss = pool[str(OFFSETS[best])][seed][1]
        if loss is not None:
            losses[index] = loss
    return Replay(search=search, losses=losses, selection=selection_sd(search, losses, "log_ratio"))


def compare(mine: Replay, other: Replay, num: int, *, is_plain: bool = False) -> Effect:
    """Return the effect on the first `num` evaluation seeds; plain: as if no search had chosen anything."""
    selection = () if is_plain else (mine.selection, other.selection)
    effect = paired_effect(_cut(mine, num), _cut(other, num), "log_ratio", selection)
    assert effect is not None and effect.n == num, effect
    return effect


def judge_fixed(mine: Replay, other: Replay, num: int, *, is_plain: bool = False) -> str:
    """Return the verdict under seeds=`num`."""
    return decide({"mine": compare(mine, other, num, is_plain=is_plain)}, MARGIN)["mine"].word


def judge_auto(mine: Replay, other: Replay) -> tuple[str, int]:
    """Return the verdict under seeds=auto, and at how many seeds it stopped."""
    num = list_looks(LIMIT)[0]
    while True:
        wanted = next_num_seeds(
            {"mine": _cut(mine, num), "other": _cut(other, num)},
            "other",
            "log_ratio",
            MARGIN,
            {"mine": mine.selection, "other": other.selection},
            num,
            LIMIT,
        )
        if wanted == num:
            break
        num = wanted
    effects = {"mine": compare(mine, other, num)}
    look = plan_seeds(effects, MARGIN, num, LIMIT)
    return decide(effects, MARGIN, look.alpha)["mine"].word, num


def _cut(study: Replay, num: int) -> dict[int, float]:
    return {seed: loss for seed, loss in study.losses.items() if seed < num}


def _average(losses: list[float | None]) -> float:
    known = [loss for loss in losses if loss is not None]
    return math.fsum(known) / len(known) if len(known) == len(losses) else math.inf
