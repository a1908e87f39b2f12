"""Our short forms are written out in Hydra's grammar, and everything else is left alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.command import expand, list_overrides, name_sweep
from tests.composing import compose_studies, compose_study


@pytest.mark.parametrize(
    ("typed", "written"),
    [
        ("seeds=10", "seeds.num=10"),
        ("seeds=auto", "seeds.num=auto"),
        ("seeds.vary=[init]", "seeds.vary=[init]"),
        ("search.space.model.dropout=[0,0.1]", "++search.space.model.dropout=[0,0.1]"),
        (
            "optimizer.lr=tag(log,interval(1e-5,1e-1))",
            "++search.space.optimizer.lr={low:1e-05,high:0.1,log:true}",
        ),
        (
            "optimizer.momentum=interval(0.5,0.9)",
            "++search.space.optimizer.momentum={low:0.5,high:0.9,log:false}",
        ),
        ("optimizer=adam,adamw", "optimizer=adam,adamw"),
        ("optimizer.name=interval(", "optimizer.name=interval("),
        ("-m", "-m"),
        ("--config-dir=seeds=3", "--config-dir=seeds=3"),
    ],
)
def test_short_forms(typed: str, written: str) -> None:
    assert expand([typed]) == [written]


@given(st.lists(st.text(max_size=20)))
def test_as_many_words_come_out_as_went_in(words: list[str]) -> None:
    assert len(expand(words)) == len(words)


def test_a_space_is_read_by_dotted_key() -> None:
    study = compose_study(
        "search.space.optimizer.weight_decay={low:1e-4,high:1.0,log:true}",
        "search.space.model.dropout=[0.0,0.1]",
        "optimizer.lr=tag(log,interval(1e-4,1e-2))",
    )
    space = study.search.space
    assert set(space) == {"optimizer.weight_decay", "model.dropout", "optimizer.lr"}
    assert space["model.dropout"].choices == (0.0, 0.1)
    assert (space["optimizer.lr"].low, space["optimizer.lr"].high, space["optimizer.lr"].log) == (
        1e-4,
        1e-2,
        True,
    )


def test_horizons_are_studies_with_their_own_length() -> None:
    half, whole, twice = compose_studies("horizons=[0.5,1,2]")
    assert [study.budget.steps for study in (half, whole, twice)] == [300, 600, 1200]
    assert [study.horizon for study in (half, whole, twice)] == [0.5, 1.0, 2.0]
    assert not half.is_workload_modified


def test_overrides_are_told_from_flags() -> None:
    assert list_overrides(["-m", "optimizer=adam", "--config-dir", "x", "~experiment"]) == [
        "optimizer=adam",
        "~experiment",
    ]
    assert name_sweep(["optimizer=adam"]).startswith("adam-")
