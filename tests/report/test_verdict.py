"""The golden sweep says exactly these words, in whatever order its studies came."""

from __future__ import annotations

import csv
import random
from pathlib import Path
from typing import Any

import pytest

from bench.report.load import load
from bench.report.verdict import judge
from bench.spec import Model
from tests.report.conftest import DETAILS, GOLDEN, make_golden
from tests.sweeps import make_study, write_sweep

WORDS = {
    "adamw": "reference",
    "adam": "tied, untuned",
    "muon": "better, untuned",
    "sgd": "worse, untuned",
    "lion": "inconclusive, untuned",
    "wild": "unstable (1/3 diverged), untuned",
    "partial": "no claim (1/3 oom), untuned",
    "broken": "missing (failed), untuned",
    "exotic": "not run",
    "short": "no claim (n=2), untuned",
    "forgotten": "missing (not run yet), untuned",
}


def judged(folder: Path, reference: str | None = None) -> dict[str, str]:
    (arena,) = load(folder, reference).arenas
    return {each.cell.label: each.verdict for each in judge(arena)}


def read_table(folder: Path, name: str = "results_photo_mlp") -> dict[str, dict[str, str]]:
    with open(folder / "tables" / f"{name}.csv", newline="") as file:
        return {row["optimizer"]: row for row in csv.DictReader(file)}


def test_the_golden_sweep_says_exactly_these_words(golden: Path) -> None:
    assert judged(golden) == WORDS
    assert {label: row["verdict"] for label, row in read_table(golden).items()} == WORDS


def test_the_order_of_studies_changes_no_verdict(tmp_path: Path) -> None:
    shuffled = list(GOLDEN)
    random.Random(1).shuffle(shuffled)
    assert judged(write_sweep(tmp_path / "results", make_golden(shuffled), details=DETAILS)) == WORDS


def test_no_mean_is_taken_over_the_seeds_that_survived(golden: Path) -> None:
    rows = read_table(golden)
    for label in ("wild", "partial", "broken", "exotic", "forgotten"):
        assert rows[label]["val_loss_mean"] == rows[label]["psnr_db"] == rows[label]["effect_mean"] == ""
    assert rows["wild"]["num_ok"] == "2" and rows["wild"]["num_runs"] == "3"
    assert float(rows["muon"]["val_loss_mean"]) == pytest.approx(0.0091333, rel=1e-4)


def test_rows_come_by_mean_loss_and_those_without_one_last(golden: Path) -> None:
    means = [row["val_loss_mean"] for row in read_table(golden).values()]
    known = [float(mean) for mean in means if mean]
    assert known == sorted(known) and not any(means[len(known) :])


@pytest.mark.parametrize(
    ("ends", "word"),
    [
        ([0.01, "diverged", 0.01], "no claim (both diverged), untuned"),
        ([0.01, 0.0101, 0.0102], "no claim (reference diverged), untuned"),
    ],
)
def test_a_reference_that_diverged_carries_no_claim(tmp_path: Path, ends: list[Any], word: str) -> None:
    studies = [(make_study("adamw"), [0.01, 0.01, "diverged"]), (make_study("sgd"), ends)]
    assert judged(write_sweep(tmp_path / "results", studies))["sgd"] == word


def test_leaning_is_what_holm_takes_back(tmp_path: Path) -> None:
    # p is about 0.035 alone; four comparisons make it 0.14.
    leaning = [0.0105, 0.0107, 0.0110]
    others = [(make_study(name), [0.0101, 0.0099, 0.0104]) for name in ("a", "b", "c")]
    studies = [(make_study("adamw"), [0.0100, 0.0100, 0.0100]), (make_study("sgd"), leaning), *others]
    assert judged(write_sweep(tmp_path / "results", studies))["sgd"] == "leaning worse, untuned"
    alone = write_sweep(tmp_path / "results", studies[:2], name="alone")
    assert judged(alone)["sgd"] == "worse, untuned"


def test_the_reference_is_the_one_asked_for_else_adamw_else_the_first_by_name(tmp_path: Path) -> None:
    trio = [(make_study(name), [0.01, 0.0101, 0.0102]) for name in ("sgd", "adamw", "adam")]
    folder = write_sweep(tmp_path / "results", trio)
    assert load(folder, None).arenas[0].reference.label == "adamw"
    assert load(folder, "sgd").arenas[0].reference.label == "sgd"
    assert load(folder, "nobody").arenas[0].reference.label == "adamw"
    pair = write_sweep(tmp_path / "results", [trio[0], trio[2]], name="pair")
    assert load(pair, None).arenas[0].reference.label == "adam"


def test_namesakes_are_told_apart_by_what_varies(tmp_path: Path) -> None:
    studies = [
        (make_study("adamw", weight_decay=0.1), [0.01, 0.01, 0.01]),
        (make_study("adamw", weight_decay=0.2), [0.01, 0.01, 0.01]),
        (make_study("sgd"), [0.01, 0.01, 0.01]),
    ]
    (arena,) = load(write_sweep(tmp_path / "results", studies), None).arenas
    assert {cell.label for cell in arena.cells} == {"adamw weight_decay=0.1", "adamw weight_decay=0.2", "sgd"}
    assert arena.reference.label == "adamw weight_decay=0.1"


def test_arenas_are_kept_apart_and_named_by_what_differs(tmp_path: Path) -> None:
    deep = Model(target="bench.model.mlp.Mlp", name="photo_mlp", args={"depth": 3, "width": 64})
    studies = [
        (make_study("adamw"), [0.01, 0.01, 0.01]),
        (make_study("adamw", model=deep, is_workload_modified=True), [0.02, 0.02, 0.02]),
        (make_study("adamw", threads=2), [0.01, 0.01, 0.01]),
    ]
    names = [arena.name for arena in load(write_sweep(tmp_path / "results", studies), None).arenas]
    assert names[0] == "photo_mlp threads=1" and names[2] == "photo_mlp threads=2"
    assert names[1].startswith("photo_mlp* ") and "model.depth=3" in names[1]
