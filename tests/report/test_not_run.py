"""What can't exist here is one line, and weighs nothing: not a failure, not a seed, not a comparison."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import pytest

from bench.report.across import find_leagues
from bench.report.build import build, default_sections, read_block
from bench.report.concern import find_concerns, find_not_run
from bench.report.load import load
from bench.report.section import budget, results, robustness, tuning
from bench.report.verdict import judge
from tests.arenas import BETTER, REFERENCE, TIED, WORSE, Ends, move, write_arenas
from tests.sweeps import make_search, make_study, make_tuned_study, write_sweep

pytestmark = pytest.mark.usefixtures("undrawn_module")

REASON = (
    "not run: wants the Debian package dataset-fashion-mnist (apt-get install dataset-fashion-mnist), "
    "or data.root="
)
FIT = "does not fit: vit takes image, mnist1d gives features"
ABSENT: list[float | str] = ["unsupported"] * 5


def write(root: Path, tasks: dict[str, dict[str, Ends]], reason: str = REASON) -> Path:
    cells = [
        (move(make_study(name), task), ends) for task, each in tasks.items() for name, ends in each.items()
    ]
    return write_sweep(root / "results", cells, details={"unsupported": reason})


def full_report(folder: Path, sections: Sequence[str] | None = None) -> str:
    build(folder, default_sections() if sections is None else sections, None)
    text = (folder / "report.md").read_text()
    assert "could not be written" not in text
    return text


def test_a_whole_arena_is_one_line_everywhere(tmp_path: Path) -> None:
    ran: dict[str, Ends] = {"adamw": REFERENCE, "sgd": WORSE}
    folder = write(tmp_path, {"photo": ran, "fashion": {"adamw": ABSENT, "sgd": ABSENT}})
    text = full_report(folder)
    lines = read_block(folder).splitlines()
    assert lines[0].startswith("bench adam-adamw-1f0c9a | 6 runs: 6 ok, 2 cells not run |")
    assert sum("fashion" in line.partition(" ")[0] for line in lines) == 1 and "3 paired seeds" in lines[2]
    closing = " ".join(" ".join(lines[-3:-1]).split())
    assert closing == f"fashion {REASON}"
    (row,) = [line for line in text.splitlines() if line.startswith("| adamw, sgd | not run |")]
    assert REASON in row.replace("\\", "")
    with open(folder / "tables" / "not_run.csv", newline="") as file:
        assert [each["optimizer"] for each in csv.DictReader(file)] == ["adamw, sgd"]
    # One row a cell, where a row a run is listed.
    with open(folder / "tables" / "runs.csv", newline="") as file:
        assert sum(each["arena"] == "fashion" for each in csv.DictReader(file)) == 2
    assert (
        not (folder / "tables" / "failures.csv").exists()
        and not (folder / "tables" / "settings_fashion.csv").exists()
    )


def test_one_optimizer_that_can_not_run_changes_nothing_for_the_others(tmp_path: Path) -> None:
    tasks: dict[str, Ends] = {"adamw": REFERENCE, "sgd": WORSE, "adam": TIED}
    without = write(tmp_path / "a", {"photo": tasks})
    folder = write(tmp_path / "b", {"photo": {**tasks, "muon": ABSENT}}, FIT)
    there, here = (
        {each.cell.label: each for each in judge(load(each, None).arenas[0])} for each in (without, folder)
    )
    assert here.pop("muon").verdict == "not run"
    assert {label: (each.verdict, each.p_holm) for label, each in here.items()} == {
        label: (each.verdict, each.p_holm) for label, each in there.items()
    }
    text = full_report(folder, [results.__name__])
    assert text.count("| muon | – | – | – | – | – | not run |") == 1  # noqa: RUF001
    block = read_block(folder)
    assert f"photo/muon {FIT}" in block and block.count("muon") == 2
    assert not [each for each in find_concerns(load(folder, None)) if "muon" in each.text]


@pytest.mark.parametrize("wanted", [None, "adamw"])
def test_a_reference_that_can_not_run_is_none(tmp_path: Path, wanted: str | None) -> None:
    folder = write(tmp_path, {"photo": {"adamw": ABSENT, "adam": REFERENCE, "sgd": WORSE}})
    sweep = load(folder, wanted)
    words = {each.cell.label: each.verdict for each in judge(sweep.arenas[0])}
    assert words == {"adam": "reference", "sgd": "worse, untuned", "adamw": "not run"}
    told = [each.text for each in find_concerns(sweep) if "stands in" in each.text]
    assert len(told) == (wanted is not None)


def test_pooling_leaves_out_what_could_not_run(tmp_path: Path) -> None:
    both: dict[str, Ends] = {"adamw": REFERENCE, "muon": BETTER}
    folder = write(
        tmp_path, {"a": both, "b": both, "c": {**both, "muon": ABSENT}, "d": dict.fromkeys(both, ABSENT)}
    )
    (league,) = find_leagues(load(folder, None).arenas)
    (muon,) = league.standings
    assert (
        len(league.arenas) == 3 and len(muon.arenas) == 2 and muon.pooled is not None and muon.remark is None
    )
    assert muon.counts["not run"] == 1 and muon.num_runs == 6


def test_a_search_of_nothing_but_misfits_is_not_told_to_search_lower(tmp_path: Path) -> None:
    studies = [make_tuned_study("adamw"), make_tuned_study("sgd")]
    tried = {lr: [None] for lr in (1e-4, 1e-3, 1e-2)}
    good = {lr: [0.01] for lr in (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)}
    searches = [make_search(studies[0], good), make_search(studies[1], tried)]
    cells: list[tuple[object, Ends]] = [(studies[0], REFERENCE), (studies[1], ABSENT)]
    folder = write_sweep(tmp_path / "results", cells, search=searches, details={"unsupported": FIT})  # type: ignore[arg-type]
    full_report(folder, [tuning.__name__, robustness.__name__, budget.__name__])
    sweep = load(folder, None)
    told = [each.brief for each in find_concerns(sweep)]
    assert not [brief for brief in told if "sgd" in brief or "unequal" in brief]
    assert [each.brief for each in find_not_run(sweep)] == [f"photo_mlp/sgd {FIT}"]


def test_nothing_but_misfits_is_still_a_report(tmp_path: Path) -> None:
    folder = write(tmp_path, {"photo": {"adamw": ABSENT, "sgd": ABSENT}}, FIT)
    full_report(folder)
    lines = read_block(folder).splitlines()
    assert "| 0 runs, 2 cells not run |" in lines[0] and f"photo {FIT}" in lines and len(lines) == 5


def test_many_reasons_do_not_flood_the_block(tmp_path: Path) -> None:
    pair: dict[str, Ends] = {"adamw": REFERENCE, "sgd": WORSE}
    folders = [write_arenas(tmp_path / str(num), [pair, *[{"adamw": ABSENT}] * num]) for num in (2, 9)]
    for folder in folders:
        build(folder, [], None)
        lines = read_block(folder).splitlines()
        # The same reason is said once, however many arenas share it.
        assert sum("no reason given" in line for line in lines) == 1 and len(lines) <= 16


def test_a_cell_that_was_interrupted_after_a_first_misfit_is_one_too(tmp_path: Path) -> None:
    folder = write(tmp_path, {"photo": {"adamw": REFERENCE, "sgd": ["unsupported", "absent", "absent"]}})
    assert judge(load(folder, None).arenas[0])[-1].verdict == "not run"
    mixed = write(tmp_path / "b", {"photo": {"adamw": REFERENCE, "sgd": [0.01, "unsupported", 0.01]}})
    assert judge(load(mixed, None).arenas[0])[-1].verdict == "no claim (1/3 unsupported), untuned"
