"""The answer in three lines, and listed settings told as one row an optimizer, page and terminal alike."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from bench.report.at_best import lists_settings, make_best_suite
from bench.report.build import build, read_block
from bench.report.card import write_card
from bench.report.load import load
from bench.report.section import answer
from bench.report.suite import make_suite
from tests.arenas import BETTER, REFERENCE, TIED, WORSE, write_arenas
from tests.report.test_build import is_narrow
from tests.sweeps import make_study, write_sweep

pytestmark = pytest.mark.usefixtures("undrawn_module")

NUM_SEEDS = 5
# Optimizer -> its best lr, and how far above the reference's it ends there.
PLANTED = {"adamw": (1e-3, 1.0), "adam": (1e-3, 1.001), "sgd": (1e-2, 1.5)}
LRS = (1e-4, 1e-3, 1e-2, 1e-1)


def write_listed(root: Path, ends: Mapping[tuple[str, float], tuple[int, str]] | None = None) -> Path:
    """Write a sweep of three optimizers over four listed lrs, with another end than a loss where asked."""
    cells = []
    for name, (best, factor) in PLANTED.items():
        for lr in LRS:
            losses: list[float | str] = [
                0.01 * factor * (1 + (lr != best) + 0.01 * seed + 0.0005 * ((seed * 7 + len(name)) % 3))
                for seed in range(NUM_SEEDS)
            ]
            if (ends or {}).get((name, lr)):
                seed, end = (ends or {})[name, lr]
                losses[seed] = end
            cells.append((make_study(name, lr=lr), losses))
    return write_sweep(root / "results", cells)


def test_listed_settings_end_in_one_line_for_each_optimizer(tmp_path: Path) -> None:
    folder = write_listed(tmp_path)
    build(folder, [answer.__name__], None)
    block = read_block(folder)
    assert is_narrow(block, 24)
    rows = {line.split()[1]: line for line in block.splitlines() if line.startswith("photo_mlp ")}
    assert set(rows) == set(PLANTED) and len(rows) == sum(
        line.startswith("photo_mlp ") for line in block.splitlines()
    )
    assert "reference" in rows["adamw"] and " tied" in rows["adam"] and " worse" in rows["sgd"]
    for name, (best, _) in PLANTED.items():
        assert rows[name].endswith(f" {best:g}")
    assert "each at its best of 4 listed settings" in block
    text = (folder / "report.md").read_text()
    which = re.search(r"- \*\*Which:\*\* (.*)", text)
    assert which is not None
    assert (
        "No other is better than adamw. Tied within the margin: adam (+0.1 %); worse: sgd (+50 %)."
        in which[1]
    )


def test_a_setting_that_was_lost_takes_the_claim_away_and_one_that_diverged_does_not(tmp_path: Path) -> None:
    words = {}
    for end in ("oom", "diverged"):
        sweep = load(write_listed(tmp_path / end, {("sgd", 1e-1): (2, end)}), None)
        suite = make_best_suite(sweep)
        assert suite is not None and lists_settings(sweep)
        words[end] = suite.rows[0].entries["sgd"].judgement.verdict
    # It may have been the best of them.
    assert words["oom"].startswith("no claim (runs of sgd failed)") and words["diverged"].startswith("worse")


def test_several_arenas_count_what_each_optimizer_did(tmp_path: Path) -> None:
    tasks: list[dict[str, Sequence[float | str]]] = [
        {"adamw": REFERENCE, "adam": TIED, "lion": BETTER, "sgd": WORSE},
        {"adamw": REFERENCE, "adam": TIED, "lion": TIED, "sgd": ["oom", *WORSE[1:]]},
    ]
    sweep = load(write_arenas(tmp_path, tasks), None)
    (_, which), (_, sure), (_, cost) = write_card(sweep, make_suite(sweep.arenas))
    assert which.startswith("Against adamw: lion better on 1, ")
    assert "sgd worse on 1, no claim on 1." in which and "over 2 arenas, untuned; lower is better" in which
    assert "1 of 24 runs did not finish" in sure and "n = 3 paired seeds" in sure
    assert re.search(r"sgd [\d.]+x time.*, 0\.\d\dx peak memory", cost)


@pytest.mark.parametrize("ends", [["failed"] * 3, ["absent"] * 3, [0.01, 0.01, 0.01]])
def test_a_card_without_anything_to_compare_says_so_or_is_absent(
    tmp_path: Path, ends: list[float | str]
) -> None:
    alone = load(write_arenas(tmp_path / "a", [{"adamw": ends}]), None)
    assert write_card(alone, make_suite(alone.arenas)) == ()
    pair = load(write_arenas(tmp_path / "b", [{"adamw": ends, "sgd": ["failed"] * 3}]), None)
    lines = dict(write_card(pair, make_suite(pair.arenas)))
    assert "issing: sgd" in lines["Which"] and "nothing could be paired" in lines["How sure"]


def test_what_the_card_says_stands_in_a_table(tmp_path: Path) -> None:
    """Every number of the first line, to the digits shown, is in the CSV of the same choice."""
    folder = write_listed(tmp_path)
    from bench.report.section import factors

    build(folder, [answer.__name__, factors.__name__], None)
    which = re.search(r"\*\*Which:\*\* (.*?) Final", (folder / "report.md").read_text())
    assert which is not None
    (path,) = folder.glob("tables/best_*.csv")
    with path.open(newline="") as file:
        found = {row["optimizer"]: row for row in csv.DictReader(file)}
    shown = dict(re.findall(r"(\w+) \(([-+]?[\d.]+) %\)", which[1]))
    assert set(shown) == {"adam", "sgd"}
    for name, number in shown.items():
        digits = len(number.partition(".")[2])
        known = 100 * (2.718281828459045 ** float(found[name]["effect_mean"]) - 1)
        assert abs(known - float(number)) <= 0.5 * 10**-digits + 1e-9
