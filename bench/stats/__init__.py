"""Paired statistics for a handful of seeds: intervals that cover, claims that survive many comparisons."""

from bench.stats.across import (
    MIN_PROFILE_ARENAS,
    PooledEffect,
    adjust_fdr,
    expect_false_arenas,
    improvement_probability,
    performance_profile,
    pool_effects,
)
from bench.stats.claim import ALPHA, Claim, adjust_holm, count_more_seeds, decide, is_within_margin
from bench.stats.curve import expected_best, lr_sensitivity, usable_lr_width
from bench.stats.effect import (
    MIN_PAIRS,
    SELECTION_DF,
    Effect,
    Scale,
    add_errors,
    correlate_pairs,
    paired_effect,
    summarise,
    t_interval,
    t_test,
)
from bench.stats.looks import FIRST_LOOK, Look, list_looks, next_num_seeds, plan_seeds, spend_alpha
from bench.stats.selection import mean_square_below, selection_sd

__all__ = [
    "ALPHA",
    "FIRST_LOOK",
    "MIN_PAIRS",
    "MIN_PROFILE_ARENAS",
    "SELECTION_DF",
    "Claim",
    "Effect",
    "Look",
    "PooledEffect",
    "Scale",
    "add_errors",
    "adjust_fdr",
    "adjust_holm",
    "correlate_pairs",
    "count_more_seeds",
    "decide",
    "expect_false_arenas",
    "expected_best",
    "improvement_probability",
    "is_within_margin",
    "list_looks",
    "lr_sensitivity",
    "mean_square_below",
    "next_num_seeds",
    "paired_effect",
    "performance_profile",
    "plan_seeds",
    "pool_effects",
    "selection_sd",
    "spend_alpha",
    "summarise",
    "t_interval",
    "t_test",
    "usable_lr_width",
]
