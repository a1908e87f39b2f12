"""A multirun's lists of plain values are taken apart from it, and mean what they mean to Hydra."""

from __future__ import annotations

import hydra
import pytest
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser

from bench.configuration import VERSION, config_folder, read_studies
from bench.errors import SpecError
from bench.lists import apply_lists, take_lists
from bench.spec import Study
from tests.tiers import few


def split(words: list[str]) -> list[list[str]]:
    """Return the jobs that Hydra's own sweeper makes of the words."""
    parsed = OverridesParser.create().parse_overrides(words)
    return [job for batch in BasicSweeper.split_arguments(parsed, None) for job in batch]


def read(words: list[str]) -> list[Study]:
    """Return the studies of words as a multirun collects them, its lists taken apart."""
    kept, lists = take_lists(["-m", *words])
    studies = []
    for job in split(kept[1:]):
        config = hydra.compose("config", overrides=job)
        for varied in apply_lists(config, lists):
            studies += read_studies(varied, "digits_mlp")
    return studies


@pytest.mark.parametrize(
    ("words", "jobs"),
    few(
        [
            (["optimizer=adam,sgd", "optimizer.lr=1e-3,0.01,auto"], 2),
            # What is no list of plain values is Hydra's.
            (["seeds.vary=[init],[init,order]", "++search.space.model.dropout=[0,0.1]"], 2),
            (["optimizer.betas=[0.9,0.99],[0.8,0.99]"], 2),
            (["optimizer.lr=choice(1e-3,1e-2)", "seeds.num=range(2,4)"], 1),
            (["model.dropout=0,0.1", "optimizer=sgd", "optimizer.weight_decay=0,1e-4", "threads=1,2"], 2),
            (["clip_norm=null,1.0", "budget.steps=10,20", "model.activation=relu,'tanh'"], 2),
        ],
        2,
    ),
)
def test_the_studies_are_those_of_hydra(words: list[str], jobs: int) -> None:
    words = ["workload=digits_mlp", *words]
    with hydra.initialize_config_dir(str(config_folder()), **VERSION):
        assert len(split(take_lists(["-m", *words])[0][1:])) == jobs
        apart = read(words)
        plain = [
            study
            for job in split(words)
            for study in read_studies(hydra.compose("config", overrides=job), "digits_mlp")
        ]
    assert len(plain) > 1
    # Where a group varies beside a list, their order may be another.
    assert sorted(apart, key=repr) == sorted(plain, key=repr)


@pytest.mark.parametrize(
    "words",
    [
        ["optimizer.lr=1,2"],
        ["-m", "optimizer.lr=1,2", "optimizer.lr=3"],
        ["-m", "optimizer.lr=1,2", "--cfg", "job"],
        ["-m", "hydra.job.name=a,b", "optimizer=adam,sgd", "+model.x=1,2", "optimizer.lr=1,[2"],
        ["-m", "hydra/launcher=joblib", "optimizer.lr=0.1"],
    ],
)
def test_what_is_not_ours_is_left_to_hydra(words: list[str]) -> None:
    assert take_lists(words) == (words, [])


def test_folders_of_ones_own_are_no_obstacle() -> None:
    for place in (["--config-dir", "./more"], ["--config-dir=./more"], ["-cd", "a.b"]):
        kept, lists = take_lists([*place, "-m", "model=a,b", "optimizer.lr=1,2e-3"])
        assert kept == [*place, "-m", "model=a,b", "optimizer.lr=1"]
        assert lists == [("optimizer.lr", [1, 0.002])]


def test_each_value_of_a_list_is_judged() -> None:
    with hydra.initialize_config_dir(str(config_folder()), **VERSION), pytest.raises(SpecError, match="oops"):
        read(["workload=digits_mlp", "optimizer.lr=1e-3,oops"])
