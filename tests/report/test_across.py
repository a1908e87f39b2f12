"""Across arenas: counts, a mean over all of them or none, and a profile where there are enough."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Literal

import pytest

from bench.report.across import League, Standing, find_leagues
from bench.report.build import build
from bench.report.chapter import Text
from bench.report.load import load
from bench.report.section import across, answer, method, results
from bench.report.verdict import judge
from bench.stats import adjust_fdr, pool_effects
from tests.arenas import BETTER, REFERENCE, TIED, WORSE, Ends, move, write_arenas
from tests.sweeps import make_search, make_study, make_tuned_study, write_sweep

pytestmark = pytest.mark.usefixtures("undrawn_module")

SECTIONS = [module.__name__ for module in (answer, results, across, method)]


def stand(folder: Path) -> dict[str, Standing]:
    (league,) = find_leagues(load(folder, None).arenas)
    return {each.label: each for each in league.standings}


def kinds(standing: Standing) -> dict[str, int]:
    return {kind: num for kind, num in standing.counts.items() if num}


def show_text(folder: Path) -> str:
    build(folder, SECTIONS, None)
    return (folder / "report.md").read_text()


def test_two_arenas_are_counted_and_pooled(tmp_path: Path) -> None:
    both = {"adamw": REFERENCE, "muon": BETTER, "sgd": WORSE, "adam": TIED}
    folder = write_arenas(tmp_path, [both, {**both, "muon": TIED}])
    standings = stand(folder)
    assert list(standings) == ["adam", "muon", "sgd"]
    assert kinds(standings["muon"]) == {"better": 1, "tied": 1}
    assert kinds(standings["sgd"]) == {"worse": 2} and kinds(standings["adam"]) == {"tied": 2}

    effects = [each.effect for each in standings["muon"].judgements]
    parts = [(each.mean, each.error or 0.0, each.df or 0.0) for each in effects if each is not None]
    assert standings["muon"].pooled == pool_effects(parts) and len(parts) == 2
    assert standings["muon"].remark is None

    chance = standings["sgd"].chance
    assert chance is not None and chance[0] == 0.0 and 0 < chance[1][1] < 1

    text = show_text(folder)
    assert "6 comparisons on this page; if no optimizer differed, about 0.1 of them" in text
    assert "speaks of these 2 arenas only" in text and "is of untuned optimizers" in text
    assert "needs at least 5 arenas with a complete adamw, here are 2" in text
    assert "share a workload" not in text and not list((folder / "figures").glob("profile*"))
    with open(folder / "tables" / "across_adamw.csv", newline="") as file:
        rows = {row["optimizer"]: row for row in csv.DictReader(file)}
    assert rows["muon"]["num_better"] == rows["muon"]["num_tied"] == "1"
    mean = standings["muon"].pooled
    assert mean is not None and float(rows["muon"]["log_ratio_mean"]) == pytest.approx(mean.mean)


def test_p_is_adjusted_over_the_whole_page_and_the_smallest_is_named(tmp_path: Path) -> None:
    both = {"adamw": REFERENCE, "muon": BETTER, "sgd": WORSE}
    folder = write_arenas(tmp_path, [both, {**both, "muon": TIED}])
    pairs = [
        (arena.name, each.cell.label, each.effect.p)
        for arena in load(folder, None).arenas
        for each in judge(arena)
        if each.effect is not None and each.effect.p is not None
    ]
    adjusted = adjust_fdr([p for _, _, p in pairs])
    expected = min(p for p, (_, label, _) in zip(adjusted, pairs, strict=True) if label == "muon")
    finding = stand(folder)["muon"].finding
    assert len(pairs) == 4 and finding is not None
    assert finding.p == expected and finding.arena.name == "task0" and finding.is_lower


def test_nothing_is_pooled_over_the_arenas_that_went_well(tmp_path: Path) -> None:
    first: dict[str, Ends] = {name: BETTER for name in ("wild", "partial", "gone", "short", "absentee")}
    second: dict[str, Ends] = {
        "wild": [0.009, "diverged", 0.009],
        "partial": [0.009, "oom", 0.009],
        "gone": ["failed"] * 3,
        "short": [0.0090, 0.0091],
    }
    folder = write_arenas(tmp_path, [{"adamw": REFERENCE, **first}, {"adamw": REFERENCE, **second}])
    standings = stand(folder)
    assert all(each.pooled is None and each.remark for each in standings.values())
    assert kinds(standings["wild"]) == {"better": 1, "unstable": 1}
    assert kinds(standings["partial"]) == kinds(standings["short"]) == {"better": 1, "no claim": 1}
    assert kinds(standings["gone"]) == {"better": 1, "missing": 1}
    assert standings["wild"].remark == "no mean, since on task1 it is unstable (1/3 diverged)"
    assert standings["absentee"].remark == "only on task0" and standings["absentee"].chance is None
    assert (standings["wild"].num_diverged, standings["wild"].num_runs) == (1, 6)
    # A diverged seed lost, one that failed on the machine says nothing.
    chance = standings["wild"].chance
    assert chance is not None and chance[0] == pytest.approx((1 + 2 / 3) / 2)
    assert standings["partial"].chance is None and standings["gone"].chance is None


def test_differences_have_no_mean_in_percent(tmp_path: Path) -> None:
    both = {"adamw": REFERENCE, "muon": BETTER}
    standing = stand(write_arenas(tmp_path, [both, both], {1: "difference"}))["muon"]
    assert standing.pooled is None and standing.remark == "no mean, since differences on task1 are no ratios"
    assert standing.chance is not None and kinds(standing)


def test_a_comparison_without_a_claim_names_no_p(tmp_path: Path) -> None:
    cells, searches = [], []
    edges: dict[str, Literal["high"] | None] = {"adamw": None, "sgd": "high"}
    for task in ("task0", "task1"):
        for (name, edge), ends in zip(edges.items(), (REFERENCE, WORSE), strict=True):
            study = move(make_tuned_study(name), task)
            cells.append((study, ends))
            searches.append(make_search(study, {lr: [0.01] for lr in (1e-4, 1e-3, 1e-2)}, edge=edge))
    folder = write_sweep(tmp_path / "results", cells, search=searches)
    standing = stand(folder)["sgd"]
    assert kinds(standing) == {"no claim": 2} and standing.finding is None
    assert standing.pooled is not None and "it carries no claim either" in show_text(folder)


def test_one_arena_has_nothing_to_put_together(tmp_path: Path) -> None:
    folder = write_arenas(tmp_path, [{"adamw": REFERENCE, "muon": BETTER}])
    shown = across.show(load(folder, None))
    assert isinstance(shown, str) and "two arenas" in shown
    assert "1 comparison on this page; if no optimizer differed, about 0.05 of them" in show_text(folder)


def test_arenas_with_another_reference_are_kept_apart(tmp_path: Path) -> None:
    pair = {"adamw": REFERENCE, "muon": BETTER}
    folder = write_arenas(tmp_path, [pair, pair, {"lion": REFERENCE, "muon": BETTER}])
    blocks = across.show(load(folder, None))
    assert not isinstance(blocks, str)
    last = blocks[-1]
    assert isinstance(last, Text) and "task2 (reference lion)" in last.text
    alone = across.show(load(write_arenas(tmp_path / "b", [pair, {"lion": REFERENCE, "sgd": BETTER}]), None))
    assert isinstance(alone, str) and "No optimizer met the same reference" in alone


def test_arenas_of_one_workload_err_alike(tmp_path: Path) -> None:
    cells = [
        (make_study(name, threads=threads), ends)
        for threads in (1, 2)
        for name, ends in (("adamw", REFERENCE), ("muon", BETTER))
    ]
    assert "err alike" in show_text(write_sweep(tmp_path / "results", cells))


def test_no_text_holds_a_number_that_is_none(tmp_path: Path) -> None:
    tasks: list[dict[str, Ends]] = [
        {"adamw": [0.01] * 3, "same": [0.01] * 3, "huge": [1e9] * 3},
        {"adamw": [0.01] * 3, "same": [0.01] * 3, "huge": [1e-9] * 3},
    ]
    folder = write_arenas(tmp_path, tasks)
    pooled = stand(folder)["same"].pooled
    assert pooled is not None and pooled.mean == 0 and pooled.interval == (0, 0) and math.isfinite(pooled.df)
    words = set(show_text(folder).replace("|", " ").split())
    assert not words & {"nan", "inf", "None", "-0"} and "could not be written" not in words


def test_the_method_says_how_seeds_are_added_and_claims_are_adjusted(tmp_path: Path) -> None:
    text = show_text(write_arenas(tmp_path, [{"adamw": REFERENCE, "muon": BETTER}]))
    assert "at 5, 10, 20, 40... seeds" in text and "Lan and DeMets 1983, Biometrika 70" in text
    assert "Benjamini and Hochberg 1995" in text and "process of its own" not in text


def test_the_order_of_studies_changes_nothing(tmp_path: Path) -> None:
    def tell(league: League) -> dict[str, object]:
        return {each.label: (each.counts, each.pooled, each.chance) for each in league.standings}

    both = {"adamw": REFERENCE, "muon": BETTER, "sgd": WORSE}
    turned = dict(reversed(both.items()))
    told = [
        tell(*find_leagues(load(write_arenas(tmp_path / name, [task, task]), None).arenas))
        for name, task in (("a", both), ("b", turned))
    ]
    assert told[0] == told[1]
