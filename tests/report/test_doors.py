"""The doors to reports: several sweeps as one, what changed, what is missing, the page over all of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from bench.report.__main__ import main
from bench.report.build import build
from bench.report.load import load
from tests.report.conftest import undrawn
from tests.sweeps import make_machine, make_study, write_sweep

pytestmark = pytest.mark.usefixtures("undrawn_module")

RESULTS = ("bench.report.section.results",)


@pytest.fixture(autouse=True)
def _undrawn() -> Iterator[None]:
    with undrawn():
        yield


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "results"
    write_sweep(root, [(make_study("adamw"), [0.01, 0.0101, 0.0102])], name="one")
    write_sweep(
        root,
        [(make_study("adamw"), [0.01, 0.0101, 0.0102, 0.0101]), (make_study("sgd"), [0.02, 0.021, 0.0202])],
        name="two",
        started_at="2026-11-23T00:00:00+00:00",
    )
    monkeypatch.chdir(tmp_path)
    return root


def test_sweeps_merge_into_one_arena_with_each_cell_once(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_sweep(root, [(make_study("lion"), [0.009, 0.0091, 0.0092])], name="three")
    assert main(["results/one", "results/two", "results/three"]) == 0
    out = capsys.readouterr().out
    written = re.search(r"^report  (results/merged-\S+)/report\.html$", out, re.MULTILINE)
    assert written and Path(written[1], "report.html").is_file()
    [arena] = load(Path(written[1]), None).arenas
    assert {cell.label: len(cell.ends) for cell in arena.cells} == {"lion": 3, "adamw": 4, "sgd": 3}
    # In any order it is the same folder; a sweep given twice is one.
    assert main(["results/three", "results/one", "results/two", "results/two"]) == 0
    assert written[0] in capsys.readouterr().out


def test_a_merged_cell_keeps_the_cost_that_one_sweep_measured(root: Path) -> None:
    longer = [0.01, 0.0101, 0.0102, 0.0101, 0.01]
    write_sweep(root, [(make_study("adamw"), longer)], name="unmetered", price=lambda cost: None)
    assert main(["results/one", "results/unmetered"]) == 0
    [folder] = root.glob("merged-*")
    [cell] = load(folder, None).arenas[0].cells
    assert len(cell.ends) == 5 and cell.cost is not None


def test_other_hardware_stands_apart(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_sweep(
        root,
        [(make_study("lion"), [0.009, 0.0091, 0.0092])],
        name="there",
        machine=make_machine(device_name="Other CPU"),
    )
    assert main(["results/one", "results/there"]) == 0
    [folder] = root.glob("merged-*")
    here, there = load(folder, None).arenas
    assert [[cell.label for cell in arena.cells] for arena in (here, there)] == [["adamw"], ["lion"]] or [
        [cell.label for cell in arena.cells] for arena in (there, here)
    ] == [["adamw"], ["lion"]]
    assert "hardware=" in here.name and "hardware=" in there.name


def test_sweeps_of_two_results_folders_meet_in_the_first(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ends: list[float | str] = [0.009, 0.0091, "failed", "diverged"]
    write_sweep(tmp_path / "elsewhere", [(make_study("lion"), ends)], name="one", details={"failed": "no"})
    before = {path: path.read_bytes() for path in root.rglob("*.json")}
    assert main(["results/one", "elsewhere/one"]) == 0
    [folder] = root.glob("merged-*")
    [arena] = load(folder, None).arenas
    cells = {cell.label: cell for cell in arena.cells}
    statuses = [end.status for end in cells["lion"].ends]
    assert statuses == ["finished", "finished", "failed", "diverged"] and cells["lion"].cost is not None
    assert len(cells["adamw"].ends) == 3
    # What lay there lies there still, and nothing was written elsewhere.
    assert {path: path.read_bytes() for path in before} == before
    assert not list((tmp_path / "elsewhere").glob("merged-*"))
    # The other way round it is another folder's; with the sweep beside it, another sweep.
    assert main(["elsewhere/one", "results/one"]) == 0
    assert main(["results/one", "results/two"]) == 0
    assert len(list(root.glob("merged-*"))) == 2 and len(list((tmp_path / "elsewhere").glob("merged-*"))) == 1
    capsys.readouterr()
    write_sweep(tmp_path / "third", [(make_study("muon"), [0.02])], name="one")
    next((tmp_path / "third").glob("runs/*/*/*/result.json")).write_text("{")
    assert main(["results/one", "third/one"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_changed_loss_a_new_cell_and_a_lost_one_are_named(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = [
        (make_study("adamw"), [0.0100, 0.0102, 0.0101, 0.0103]),
        (make_study("sgd"), [0.0201, 0.0203, 0.0205, 0.0204]),
        (make_study("lion"), [0.0110, 0.0112, 0.0113, 0.0111]),
    ]
    write_sweep(root / "a", before, name="old")
    after = [
        (make_study("adamw"), [0.0100, 0.0102, 0.0101, 0.0103]),
        (make_study("sgd"), [0.0181, 0.0183, 0.0184, 0.0184]),
        (make_study("adam"), [0.0110, 0.0112, 0.0113, 0.0111]),
    ]
    write_sweep(root / "b", after, name="new")
    assert main(["compare", "results/a/old", "results/b/new"]) == 0
    lines = capsys.readouterr().out.splitlines()
    [loss] = [line for line in lines if "val loss" in line]
    assert (
        loss.split()[:2] == ["photo_mlp", "sgd"] and "0.02032" in loss and "0.0183" in loss and "-9." in loss
    )
    assert any(line.split() == ["photo_mlp", "adam", "cell", "added"] for line in lines)
    assert any(line.split() == ["photo_mlp", "lion", "cell", "gone"] for line in lines)
    assert "1 of 2 common cells unchanged; 2 losses tested (Holm), 0 not: under 3 common seeds" in lines
    assert main(["compare", "results/a/old", "results/a/old"]) == 0
    assert "3 of 3 common cells unchanged" in capsys.readouterr().out


def test_a_peak_and_a_step_time_beyond_noise_are_changes(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = [(make_study("adamw"), [0.0100, 0.0102, 0.0101])]
    write_sweep(root / "a", cells, name="old")
    write_sweep(
        root / "b",
        cells,
        name="new",
        price=lambda cost: msgspec.structs.replace(
            cost,
            peak_bytes=2 * (cost.peak_bytes or 0),
            reference=cost.reference
            and msgspec.structs.replace(
                cost.reference,
                ratio=msgspec.structs.replace(
                    cost.reference.ratio,
                    median=3 * cost.reference.ratio.median,
                    low=3 * cost.reference.ratio.low,
                    high=3 * cost.reference.ratio.high,
                ),
            ),
        ),
    )
    assert main(["compare", "results/a/old", "results/b/new"]) == 0
    out = capsys.readouterr().out
    assert "x 2.00" in out and "x 3.00" in out and "val loss" not in out


def test_status_names_what_is_open_and_the_command_for_it(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", "results/two"]) == 0
    assert capsys.readouterr().out == "two: 7 of 7 runs settled; nothing is missing\n"
    ends: list[float | str] = [0.01, "failed", "absent", "diverged", "oom"]
    write_sweep(root, [(make_study("lion"), ends)], name="open", details={"failed": "ValueError: no"})
    assert main(["status", "results/open"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "open: 2 of 5 runs settled"
    assert lines[2].split()[:7] == ["photo_mlp", "lion", "1", "failed,", "1", "not", "run,"]
    assert "ValueError: no" in lines[2]
    assert lines[-1] == "  python -m bench -m optimizer=adam,adamw retry=failed,oom"


def test_reference_and_margin_are_words(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["results/two", "reference=sgd", "margin=0.5"]) == 0
    out = capsys.readouterr().out
    assert "vs sgd" in out and "margin +-50 %" in out
    # Not what the workload declared, so it is another one.
    assert "photo_mlp*" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["results/one", "margin=none"], "margin: wants a number > 0"),
        (["results/one", "margin=-1"], "margin: wants a number > 0"),
        (["results/one", "refrence=adam"], "did you mean 'reference'"),
        (["compare", "results/one"], "compare: wants 2 sweeps"),
        (["status", "results/nowhere"], "results/nowhere: not a sweep's folder"),
        (["statsu"], "did you mean 'status'"),
        (["results/one", "results/nowhere"], "results/nowhere: not a sweep's folder"),
        (["columns", "results/one"], "columns: wants nothing"),
    ],
)
def test_a_wrong_request_is_one_line_and_exit_2(
    root: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1 and said in captured.err


def test_building_a_report_refreshes_the_page_over_all_sweeps(root: Path) -> None:
    hostile = '"><script>alert(1)</script>'
    write_sweep(root, [(make_study("lion"), [0.009])], name="odd", command=f"python -m bench x={hostile}")
    build(root / "two", RESULTS, None)
    page = (root / "index.html").read_text()
    assert 'href="./two/report.html"' in page and "one (no report yet)" in page
    assert page.index("two") < page.index("odd")
    assert "<script" not in page and "http:" not in page and "https:" not in page
    assert "default-src &#39;none&#39;" in page


def test_the_table_of_verdicts_is_latex_too(root: Path) -> None:
    write_sweep(root, [(make_study("adamw"), [0.01]), (make_study("a_b%\\x"), [0.02])], name="hard")
    build(root / "hard", RESULTS, None)
    [table] = (root / "hard" / "tables").glob("*.tex")
    text = table.read_text()
    assert text.count("\\toprule") == text.count("\\midrule") == text.count("\\bottomrule") == 1
    assert r"a\_b\%\textbackslash{}x & " in text and r"\textbf{adamw}" in text
    header, *rows = [line for line in text.splitlines() if line.endswith("\\\\")]
    assert len(rows) == 2
    assert {len(re.findall(r"(?<!\\)&", line)) for line in (header, *rows)} == {header.count(" & ")}
    # What an earlier report left goes with it.
    (root / "hard" / "tables" / "old.tex").write_text("")
    build(root / "hard", RESULTS, None)
    assert not (root / "hard" / "tables" / "old.tex").exists()
