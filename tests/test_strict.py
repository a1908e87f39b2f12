"""A wrong value is one line that names its place, what was wanted, what came, and the nearest name."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import strict
from bench.errors import SpecError
from bench.spec import Budget, Optimizer, Schedule

BUDGET = {"name": "full", "steps": 10, "batch_size": 4, "evaluations": 2}
OPTIMIZER = {
    "target": "torch.optim.SGD",
    "name": "sgd",
    "lr": "auto",
    "search": {"lr": {"default": 0.1, "low": 0.01, "high": 1.0, "source": "here"}},
}


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"steps": 0}, "budget.steps: wants a whole number >= 1, got 0"),
        ({"steps": 1.5}, "budget.steps: wants a whole number >= 1, got 1.5"),
        ({"steps": "many"}, "budget.steps: wants a whole number >= 1, got 'many'"),
        ({"steps": True}, "budget.steps: wants a whole number >= 1, got True"),
        ({"step": 3}, "budget.step: no such key; did you mean 'steps'?"),
        ({"steps": math.nan}, "budget.steps: wants a finite number, got nan"),
    ],
)
def test_budget_lines(change: dict[str, Any], line: str) -> None:
    with pytest.raises(SpecError) as caught:
        strict.read(BUDGET | change, Budget, "budget")
    assert str(caught.value) == line


def test_missing_key_is_named() -> None:
    with pytest.raises(SpecError, match=r"^budget\.steps: missing$"):
        strict.read({key: value for key, value in BUDGET.items() if key != "steps"}, Budget, "budget")


def test_nested_place_is_dotted() -> None:
    wrong = OPTIMIZER | {"search": {"lr": {"default": 0.1, "low": -1, "high": 1.0, "source": "here"}}}
    with pytest.raises(SpecError, match=r"^optimizer\.search\.lr\.low: wants a number > 0, got -1$"):
        strict.read(wrong, Optimizer, "optimizer")


def test_nearest_literal_is_offered() -> None:
    wrong = {"name": "cosin", "warmup": 0.0, "floor": 0.0, "interval": "step"}
    with pytest.raises(SpecError, match=r"^schedule\.name: .* got 'cosin'; did you mean 'cosine'\?$"):
        strict.read(wrong, Schedule, "schedule")


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.fixed_dictionaries({}, optional={key: plain for key in [*BUDGET, "extra"]}))
def test_any_plain_data_is_read_or_refused_in_one_line(value: dict[str, Any]) -> None:
    try:
        budget = strict.read(value, Budget, "budget")
    except SpecError as error:
        assert str(error).startswith("budget")
        return
    assert budget.steps >= 1 and budget.batch_size >= 1 and budget.evaluations >= 1
