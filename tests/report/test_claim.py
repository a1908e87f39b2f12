"""A searched sweep says exactly these words: whose search is at fault voids claims against that one only."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest

from bench.effort import Seeds
from bench.report.load import load
from bench.report.verdict import Judgement, judge
from bench.result import SearchRecord
from bench.spec import Study
from tests.sweeps import make_search, make_tuned_study, write_sweep

pytestmark = pytest.mark.usefixtures("undrawn_module")

GRID = (1e-4, 1e-3, 1e-2)
LOSSES = [0.0100, 0.0102, 0.0103]
WORSE = [0.0190, 0.0191, 0.0193]
BETTER = [0.0090, 0.0091, 0.0093]
Row = tuple[Study, Sequence[float | str], SearchRecord | None]


def make_row(
    name: str,
    ends: Sequence[float | str] = LOSSES,
    *,
    edge: Literal["low", "high"] | None = None,
    lrs: Sequence[float] = GRID,
    rival: float = 2.0,
    noise: float = 0.01,
    is_final: bool = True,
    seeds: Any = 3,
) -> Row:
    """Return a searched optimizer whose other settings are so many times worse than its best."""
    study = make_tuned_study(name)
    study = msgspec.structs.replace(study, seeds=Seeds(num=seeds, limit=40, vary=("init", "order")))
    tried = {
        lr: [0.01 * (1 if number == 1 else rival) * factor for factor in (1.0, 1 + noise, 1 - noise)]
        for number, lr in enumerate(lrs)
    }
    # A rival's seeds come in another order, so that a search has noise.
    for number, row in enumerate(tried.values()):
        row[:] = row[number % 3 :] + row[: number % 3]
    return study, ends, make_search(study, tried, edge=edge, is_final=is_final)


def judged(root: Path, *rows: Row) -> dict[str, Judgement]:
    folder = write_sweep(
        root / "results", [(study, ends) for study, ends, _ in rows], search=[row[2] for row in rows]
    )
    (arena,) = load(folder, None).arenas
    return {each.cell.label: each for each in judge(arena)}


def words(root: Path, *rows: Row) -> dict[str, str]:
    return {label: each.verdict for label, each in judged(root, *rows).items()}


GOLDEN = (
    make_row("adamw"),
    make_row("twin"),
    make_row("muon", BETTER),
    make_row("sgd", WORSE),
    make_row("edgy", WORSE, edge="high"),
    make_row("lucky", BETTER, edge="low"),
    make_row("lazy", WORSE, lrs=GRID[:2]),
    make_row("sparse", WORSE, lrs=(1e-5, 1e-3, 1e-1)),
    make_row("wild", [0.01, "diverged", 0.01]),
    make_row("partial", [0.01, "oom", 0.01]),
    make_row("broken", ["failed"] * 3),
    make_row("short", [0.0101, 0.0103]),
)
WORDS = {
    "adamw": "reference",
    "twin": "tied",
    "muon": "better",
    "sgd": "worse",
    "edgy": "no claim (edge lr)",
    "lucky": "better",
    "lazy": "no claim (fewer lr trials)",
    "sparse": "no claim (fewer lrs per decade)",
    "wild": "unstable (1/3 diverged)",
    "partial": "no claim (1/3 oom)",
    "broken": "missing (failed)",
    "short": "no claim (n=2)",
}


@pytest.mark.parametrize("seed", range(3))
def test_the_searched_golden_sweep_says_exactly_these_words(tmp_path: Path, seed: int) -> None:
    rows = list(GOLDEN)
    random.Random(seed).shuffle(rows)
    assert words(tmp_path, *rows) == WORDS


@pytest.mark.parametrize("gone", ["twin", "edgy", "wild", "broken"])
def test_a_third_optimizer_changes_no_word(tmp_path: Path, gone: str) -> None:
    found = words(tmp_path, *(row for row in GOLDEN if row[0].optimizer.name != gone))
    assert found == {label: word for label, word in WORDS.items() if label != gone}


def test_the_references_edge_voids_what_beats_it_and_nothing_else(tmp_path: Path) -> None:
    rows = make_row("adamw", edge="low"), make_row("muon", BETTER), make_row("sgd", WORSE), make_row("twin")
    assert words(tmp_path, *rows) == {
        "adamw": "reference",
        "muon": "no claim (edge lr)",
        "sgd": "worse",
        "twin": "tied",
    }


def test_a_reference_with_fewer_trials_can_win_but_not_lose(tmp_path: Path) -> None:
    rows = make_row("adamw", lrs=GRID[:2]), make_row("muon", BETTER), make_row("sgd", WORSE)
    found = words(tmp_path, *rows)
    assert found["muon"] == "no claim (fewer lr trials)" and found["sgd"] == "worse"


def test_an_unfinished_search_is_preliminary_on_its_own_rows(tmp_path: Path) -> None:
    rows = make_row("adamw"), make_row("sgd", WORSE, is_final=False), make_row("muon", BETTER)
    assert words(tmp_path, *rows) == {
        "adamw": "reference",
        "sgd": "worse, preliminary",
        "muon": "better",
    }
    first = make_row("adamw", is_final=False), *rows[1:]
    assert words(tmp_path / "first", *first)["muon"] == "better, preliminary"


def test_where_every_setting_failed_the_row_stays_and_says_so(tmp_path: Path) -> None:
    study, _, _ = make_row("sgd")
    fruitless = make_search(study, {lr: [None] for lr in GRID})
    assert (
        words(tmp_path, make_row("adamw"), (study, [], fruitless))["sgd"] == "missing (no setting finished)"
    )


def test_a_search_that_hardly_knew_which_setting_was_best_widens_the_interval(tmp_path: Path) -> None:
    sure = judged(tmp_path / "sure", make_row("adamw"), make_row("sgd", [0.0104, 0.0106, 0.0107]))["sgd"]
    unsure = judged(
        tmp_path / "unsure",
        make_row("adamw"),
        make_row("sgd", [0.0104, 0.0106, 0.0107], rival=1.001, noise=0.05),
    )["sgd"]
    assert sure.verdict == "worse" and unsure.verdict == "inconclusive"
    assert sure.effect and unsure.effect and sure.effect.mean == unsure.effect.mean
    assert sure.effect.resolution and unsure.effect.resolution
    assert unsure.effect.resolution > 2 * sure.effect.resolution
    assert "the search leaves" in (unsure.remark or "")


def test_auto_claims_at_what_its_look_may_spend(tmp_path: Path) -> None:
    # p is about 0.004: enough for five seeds that were asked for, not for the first of four looks.
    base, mine = [0.0100, 0.0102, 0.0103, 0.0100, 0.0101], [0.0104, 0.0109, 0.0106, 0.0105, 0.0105]
    fixed = judged(tmp_path / "fixed", make_row("adamw", base, seeds=5), make_row("sgd", mine, seeds=5))
    auto = judged(
        tmp_path / "auto", make_row("adamw", base, seeds="auto"), make_row("sgd", mine, seeds="auto")
    )
    assert fixed["sgd"].verdict == "worse" and auto["sgd"].verdict == "leaning worse"
    assert "looks" in (auto["sgd"].remark or "")
