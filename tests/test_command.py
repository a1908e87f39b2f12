"""Our short forms are written out in Hydra's grammar, and everything else is left alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.command import expand, list_overrides, name_sweep
from bench.errors import SpecError
from bench.identity import run_id
from bench.resolve import resolve
from tests.composing import compose_run, compose_studies, compose_study


@pytest.mark.parametrize(
    ("typed", "written"),
    [
        ("seeds=10", "seeds.num=10"),
        ("retry=failed,oom", "retry=[failed,oom]"),
        ("retry=[failed]", "retry=[failed]"),
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


# Short forms that stand for several words, as do=noise, are tested by themselves.
LONGER = ("do=", "suite=", "model.preset=")


@given(st.lists(st.text(max_size=20).filter(lambda word: not word.startswith(LONGER))))
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


def test_a_suite_is_a_multirun_over_its_workloads_and_gives_way_to_what_is_typed() -> None:
    words = expand(["suite=quick", "optimizer=adam,sgd"])
    assert words[0] == "-m" and "optimizer=adam,sgd" in words
    assert any(word.startswith("workload=photo_mlp,") for word in words)
    assert {"search=none", "seeds.num=3"} <= set(words)
    assert not any(word.startswith("suite") for word in words)
    mine = expand(["-m", "suite=quick", "workload=digits_mlp", "seeds=7"])
    assert mine.count("-m") == 1
    assert {"workload=digits_mlp", "seeds.num=7", "search=none"} <= set(mine)
    assert "seeds.num=3" not in mine


def test_a_suite_of_ones_own_is_found_beside_ours(tmp_path: Path) -> None:
    (tmp_path / "suite").mkdir()
    (tmp_path / "suite" / "pair.yaml").write_text("workloads: [digits_mlp, gaussian_mlp]\n")
    assert "workload=digits_mlp,gaussian_mlp" in expand([f"--config-dir={tmp_path}", "suite=pair"])
    assert "workload=digits_mlp,gaussian_mlp" in expand(["--config-dir", str(tmp_path), "suite=pair"])
    (tmp_path / "suite" / "pair.yaml").write_text("- digits_mlp\n")
    with pytest.raises(SpecError, match="suite=pair: wants a list under `workloads`"):
        expand([f"--config-dir={tmp_path}", "suite=pair"])
    with pytest.raises(SpecError, match="suite=quik: no such choice; did you mean 'quick'"):
        expand(["suite=quik"])


def test_measuring_noise_takes_many_seeds_untuned_unless_told_otherwise() -> None:
    words = expand(["workload=digits_mlp", "-m", "do=noise"])
    assert words[0] == "-m"
    assert {"do=noise", "search=none", "seeds.num=10", "report=noise", "meter=none"} <= set(words)
    assert {"search=lr", "seeds.num=20"} <= set(expand(["do=noise", "search=lr", "seeds=20"]))
    assert name_sweep(["do=noise", "workload=a"]) != name_sweep(["workload=a"])
    assert name_sweep(["do=plan", "workload=a"]) == name_sweep(["workload=a"])


@pytest.mark.parametrize(("hold", "steps"), [("steps", 300), ("items", 75)])
def test_another_batch_size_keeps_steps_or_items(hold: str, steps: int) -> None:
    study = compose_study("budget.batch_size=256", f"budget.hold={hold}", workload="digits_mlp")
    assert (study.budget.batch_size, study.budget.steps, study.is_workload_modified) == (256, steps, True)
    # What it is held to is no part of what is run.
    plain = compose_run("budget.batch_size=256", f"budget.steps={steps}", workload="digits_mlp")
    assert run_id(resolve(study, 0, "cpu")) == run_id(plain)


def test_where_the_files_lie_changes_no_id() -> None:
    here, there = (compose_run(f"data.root={root}", workload="fmnist_mlp") for root in ("/a", "/b"))
    assert run_id(here) == run_id(there)
