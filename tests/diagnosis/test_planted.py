"""Of twenty trainings, half of them ill, nineteen are named right or more, and no healthy one ill."""

from __future__ import annotations

import pytest

from tests.diagnosis.planted import is_right, list_cases, name


@pytest.mark.slow
def test_illnesses_are_named_and_the_healthy_are_left_in_peace() -> None:
    cases = list_cases()
    said = {case.name: name(case) for case in cases}
    assert len(cases) == 20 and sum(case.expected == "healthy" for case in cases) == 10
    wrong = {case.name: said[case.name] for case in cases if not is_right(case, said[case.name])}
    assert len(wrong) <= 1, wrong
    assert not [case for case in cases if case.expected == "healthy" and case.name in wrong], wrong
