"""Frozen records of how hard a study tries: what is searched between which bounds, and on how many seeds."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from bench.kinds import Count, Finite, Positive, Record, Vary


class LrRange(Record, frozen=True, kw_only=True):
    """The learning rates worth trying, and who says so."""

    default: Positive
    low: Positive
    high: Positive
    source: str


class Dimension(Record, frozen=True, kw_only=True):
    """One number or choice that a search varies: either an interval or a list."""

    low: Finite | None = None
    high: Finite | None = None
    # Searched on a logarithmic scale.
    log: bool = False
    # The interval is that of 1 - value: betas are searched as their distance from 1.
    is_complement: bool = False
    choices: tuple[bool | int | float | str, ...] | None = None


class OptimizerSearch(Record, frozen=True, kw_only=True):
    """What a search may vary of one optimizer."""

    lr: LrRange
    # What search=lr_wd adds; None: the class has no weight decay to vary.
    weight_decay: Dimension | None = None
    # What search=full adds to both, by argument name: `eps`, `betas[0]`.
    full: dict[str, Dimension] = {}


class Search(Record, frozen=True, kw_only=True):
    """How an optimizer's free numbers are chosen: the same effort for every optimizer of a sweep."""

    # Nothing; lr; lr around what a range test suggests; lr and weight decay; all the optimizer's YAML names.
    name: Literal["none", "lr", "lr_range", "lr_wd", "full"]
    sampler: Literal["grid", "qmc", "random", "tpe", "gp"]
    # Settings of the first pass, in all: the same number again resumes, a larger one extends.
    trials: Count
    # Grid points per decade of lr, around the optimizer's declared default.
    per_decade: Positive
    # Search seeds of each setting in the first pass.
    seeds: Count
    # The best settings that are tried on more search seeds...
    confirm: Annotated[int, Meta(ge=0)]
    # ...and how many each of them then has.
    confirm_seeds: Count
    # Whether ranges grow when the best lr is at an edge, for all optimizers of the arena alike.
    widen: bool
    widen_rounds: Annotated[int, Meta(ge=0)]
    # Points that a round of widening adds to each optimizer.
    widen_trials: Count
    # Whether the best setting of the first pass runs on the evaluation seeds at once, for a first answer.
    is_previewed: bool
    # An RDB URL that Optuna understands; null: a journal file in results/studies/.
    storage: str | None
    # Dotted key -> what to vary beside the optimizer's own: model.dropout, optimizer.weight_decay.
    space: dict[str, Dimension]


class RangeTest(Record, frozen=True, kw_only=True):
    """What range tests of one setting gave, a row of losses a seed."""

    # Ids of its runs, by seed.
    runs: tuple[str, ...]
    lrs: tuple[Positive, ...]
    # Mean training loss around each lr; None: past the end of a run that diverged.
    losses: tuple[tuple[Finite | None, ...], ...]
    num_steps: Count
    # None: the loss never fell.
    suggested: Positive | None
    low: Positive | None
    high: Positive | None


class Seeds(Record, frozen=True, kw_only=True):
    """Which evaluation seeds a setting runs on, and what a seed changes."""

    # The first N of 0, 1, 2...; auto: as many as the verdicts need, up to `limit`.
    num: Count | Literal["auto"]
    limit: Count
    vary: tuple[Vary, ...]
