"""A suite reads in one line a workload: who is unbeaten, how far the others trail, what seeds can tell."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench.report.build import build, read_block
from bench.report.escape import measure
from bench.report.load import load
from bench.report.section import across, answer, failures, ran, warnings
from bench.report.suite import make_suite
from bench.report.unbeaten import count_unbeaten, find_unbeaten, write_headline
from tests.arenas import BETTER, REFERENCE, TIED, WORSE, Ends, move, write_arenas
from tests.sweeps import make_search, make_study, make_tuned_study, write_sweep
from tests.tiers import few

pytestmark = pytest.mark.usefixtures("undrawn_module")

TRIO: dict[str, Ends] = {"adamw": REFERENCE, "adam": TIED, "sgd": WORSE}


TEXT_SECTIONS = [module.__name__ for module in (answer, warnings, ran, failures)]


def unbeaten(folder: Path) -> list[tuple[str, ...]]:
    return [find_unbeaten(arena) for arena in load(folder, None).arenas]


def headline(folder: Path, columns: int | None = None) -> str | None:
    return write_headline(load(folder, None).arenas, columns)


def test_those_that_nobody_is_better_than_share_the_place(tmp_path: Path) -> None:
    tasks: list[dict[str, Ends]] = [
        TRIO,
        # Better than the reference, not than each other.
        {**TRIO, "muon": BETTER, "lion": [0.00901, 0.0091, 0.00931]},
        # Nothing is told apart.
        {"adamw": [0.01, 0.02, 0.03], "sgd": [0.02, 0.03, 0.01]},
    ]
    assert unbeaten(write_arenas(tmp_path, tasks)) == [("adam", "adamw"), ("lion", "muon"), ("adamw", "sgd")]


def test_who_diverged_or_lost_a_seed_is_not_unbeaten(tmp_path: Path) -> None:
    tasks: list[dict[str, Ends]] = [{**TRIO, "wild": [0.001, "diverged", 0.001], "gone": ["failed"] * 3}]
    assert unbeaten(write_arenas(tmp_path, tasks)) == [("adam", "adamw")]


@pytest.mark.parametrize("ends", [[0.01, 0.02], [0.01, "diverged", 0.02]])
def test_where_nothing_can_be_compared_nobody_is_unbeaten(tmp_path: Path, ends: Ends) -> None:
    folder = write_arenas(tmp_path, [{"adamw": ends, "sgd": ends}, {"adamw": ends, "sgd": ends}])
    assert unbeaten(folder) == [(), ()] and headline(folder) is None
    assert count_unbeaten(load(folder, None).arenas) == ()


def test_a_loser_that_was_not_searched_fairly_stays_unbeaten(tmp_path: Path) -> None:
    cells, searches = [], []
    for name, ends, edge in (("adamw", REFERENCE, None), ("sgd", WORSE, "high"), ("muon", WORSE, None)):
        study = make_tuned_study(name)
        cells.append((study, ends))
        tried = {lr: [0.01] for lr in (1e-4, 1e-3, 1e-2)}
        searches.append(make_search(study, tried, edge=edge))  # type: ignore[arg-type]
    folder = write_sweep(tmp_path / "results", cells, search=searches)
    assert unbeaten(folder) == [("adamw", "sgd")]


def test_the_headline_counts_workloads(tmp_path: Path) -> None:
    tasks: list[dict[str, Ends]] = [TRIO, TRIO, {**TRIO, "sgd": BETTER}]
    folder = write_arenas(tmp_path / "a", tasks)
    text = "adam is unbeaten on 2 of 3 workloads, adamw on 2, sgd on 1 (alone on 1); none on all"
    assert (
        headline(folder) == text
        and headline(folder, 60) == "adam is unbeaten on 2 of 3 workloads; none on all"
    )
    same = headline(write_arenas(tmp_path / "b", [TRIO, TRIO]))
    assert same == "adam is unbeaten on all 2 workloads, adamw on all 2, sgd on 0"


def test_arenas_of_one_workload_are_not_called_workloads(tmp_path: Path) -> None:
    cells = [(make_study(name, threads=num), ends) for num in (1, 2) for name, ends in TRIO.items()]
    text = headline(write_sweep(tmp_path / "results", cells))
    assert text is not None and "all 2 arenas" in text


def suite_of(root: Path, num: int, optimizers: Sequence[str], **changes: Any) -> Path:
    ends = {
        name: [0.01 * (1 + 0.2 * rank + 0.001 * seed) for seed in range(3)]
        for rank, name in enumerate(optimizers)
    }
    cells = []
    for task in range(num):
        for name, each in ends.items():
            study = move(make_study(name), f"task{task}")
            frozen = {side: {"val_loss": 0.01, "sd": 1e-4, "n": 5} for side in ("adam", "sgd")}
            workload = msgspec.structs.replace(study.workload, reference=frozen if task == 0 else {})
            cells.append((msgspec.structs.replace(study, workload=workload), each))
    return write_sweep(root / "results", cells, **changes)


def test_the_block_of_a_suite_has_one_line_a_workload(tmp_path: Path) -> None:
    folder = suite_of(tmp_path, 10, ["adamw", "adam", "momentum", "sgd"])
    build(folder, [], None)
    lines = read_block(folder).splitlines()
    assert len(lines) <= 24 and all(measure(line) <= 100 for line in lines)
    assert "adamw is unbeaten on all 10 workloads (alone on 10), adam on 0, momentum on 0, sgd on 0" in lines
    rows = [line.split() for line in lines if line.startswith("task")]
    assert [row[0] for row in rows] == [f"task{number}" for number in range(10)]
    # The one whose values are frozen, and where adam and sgd are known to tie.
    assert rows[0][1:3] == ["(c)", "0.01001"] and rows[0][-2:] == ["3.1", "%"]
    assert rows[1] == ["task1", "0.01001", "+20", "worse", "+40", "worse", "+60", "worse", "-"]
    (legend,) = [line for line in lines if "the others: % against it" in line]
    assert legend.startswith("untuned; adamw: val loss") and "(c): control" in legend


@pytest.mark.parametrize(("num", "optimizers"), few([(22, 8), (5, 18), (5, 9)]))
def test_the_block_of_any_suite_fits(tmp_path: Path, num: int, optimizers: int) -> None:
    folder = suite_of(
        tmp_path, num, ["adamw", *(f"optimizer{number:02}" for number in range(optimizers - 1))]
    )
    build(folder, [], None)
    lines = read_block(folder).splitlines()
    assert len(lines) <= 24 and all(measure(line) <= 100 for line in lines)
    assert any(line.startswith("task4 ") for line in lines) and lines[-1].startswith("report  ")
    assert any("more arenas in the report" in line for line in lines) is (num > 17)
    # Words make room for marks, and those are explained.
    assert any("w worse" in line for line in lines)


def test_the_answer_to_a_suite_is_a_table_and_to_a_few_arenas_are_sentences(tmp_path: Path) -> None:
    sections = [answer.__name__, across.__name__]
    folder = suite_of(tmp_path / "a", 4, ["adamw", "adam", "sgd"])
    build(folder, sections, None)
    text = (folder / "report.md").read_text()
    assert text.count("One row per arena") == 1 and "reached a" not in text
    with open(folder / "tables" / "suite.csv", newline="") as file:
        rows = {(row["arena"], row["optimizer"]): row for row in csv.DictReader(file)}
    assert rows["task1", "adamw"]["is_unbeaten"] == "True" and rows["task1", "sgd"]["is_unbeaten"] == "False"
    assert rows["task0", "sgd"]["is_control"] == "True" and rows["task1", "sgd"]["is_control"] == ""
    few = suite_of(tmp_path / "b", 2, ["adamw", "adam", "sgd"])
    build(few, sections, None)
    text = (few / "report.md").read_text()
    assert (
        text.count("One row per arena") == 1
        and "On task1 (fp32, cpu), sgd (untuned) reached a 40 % higher" in text
    )


def test_columns_do_not_depend_on_the_order_of_the_command(tmp_path: Path) -> None:
    turned = dict(reversed(TRIO.items()))
    suites = [
        make_suite(load(write_arenas(tmp_path / name, [task, task]), None).arenas)
        for name, task in (("a", TRIO), ("b", turned))
    ]
    assert suites[0].labels == suites[1].labels == ("adamw", "adam", "sgd")


def test_a_suite_with_every_kind_of_end_is_written_whole(tmp_path: Path) -> None:
    tasks: list[dict[str, Ends]] = [
        TRIO,
        {**TRIO, "sgd": [0.01, "diverged", 0.01]},
        {**TRIO, "adamw": ["failed"] * 3},
        {**TRIO, "adam": ["unsupported"] * 3},
        {name: ["unsupported"] * 3 for name in TRIO},
        {name: ["absent"] * 3 for name in TRIO},
        {"lion": REFERENCE, "sgd": WORSE},
    ]
    folder = write_arenas(tmp_path, tasks)
    build(folder, [*TEXT_SECTIONS, across.__name__], None)
    text = (folder / "report.md").read_text()
    assert "could not be written" not in text and not {"None", "nan"} & set(text.replace("|", " ").split())
