"""Where a search begins that has an lr range test before its first pass: around what the test suggests."""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec

from bench.effort import RangeTest
from bench.identity import run_id
from bench.lr_range import make_tests, read_tests
from bench.resolve import resolve
from bench.result import Cost, Machine, Result
from bench.search.space import LR, Params, Space, apply, declared, round_digits
from bench.seeds import SEARCH_BASE
from bench.spec import Run, Study

# The grid's middle over the lr suggested: a training with a decay behind it bears more than a test does.
ABOVE = math.sqrt(10)


def plan_tests(spec: Study, machine: Machine, space: Space) -> tuple[Run, ...]:
    """Return the range tests of a study; none unless it asks for them and leaves its lr open."""
    if spec.search.name != "lr_range" or LR not in space or LR in spec.search.space:
        return ()
    setting = apply(spec, declared(spec, space))
    return make_tests(resolve(setting, SEARCH_BASE, machine.device), spec.search.confirm_seeds)


def read_outcomes(tests: tuple[Run, ...], outcomes: Mapping[str, Result | Cost]) -> RangeTest | None:
    """Return what the tests gave; None where one of them left no result."""
    found = [outcomes.get(run_id(run)) for run in tests]
    results = [one for one in found if isinstance(one, Result)]
    return read_tests(results) if results and len(results) == len(tests) else None


def centre(space: Space, default: Params, test: RangeTest | None) -> tuple[Space, Params]:
    """Return space and first setting of a search after its test; unchanged where that suggests nothing."""
    if test is None or test.suggested is None or test.low is None or test.high is None:
        return space, default
    lr = round_digits(test.suggested * ABOVE)
    # What a sampler without a grid draws from.
    low, high = round_digits(min(test.low, lr)), round_digits(max(test.high, lr))
    return space | {LR: msgspec.structs.replace(space[LR], low=low, high=high)}, default | {LR: lr}
