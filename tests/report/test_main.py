"""`python -m bench.report` lists, rebuilds, and says in one line what it can't."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.report.__main__ import main
from bench.report.build import read_block
from tests.sweeps import make_study, write_sweep


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "results"
    write_sweep(
        root, [(make_study("adamw"), [0.01, "diverged", 0.01]), (make_study("sgd"), [0.02, 0.02, "failed"])]
    )
    write_sweep(root, [(make_study("adamw"), [0.01])], name="older", started_at="2026-01-01T00:00:00+00:00")
    (root / "latest").symlink_to("older")
    monkeypatch.chdir(tmp_path)
    return root


def test_list_shows_each_sweep_once_the_newest_first(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0][:2] == ["sweep", "started"]
    assert lines[1:] == [
        ["adam-adamw-1f0c9a", "2026-11-22", "14:32", "2", "4/6"],
        ["older", "2026-01-01", "00:00", "1", "1/1"],
    ]


def test_list_names_what_it_cannot_read(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "older" / "manifest.json").write_text("{")
    next((root / "runs").rglob("result.json")).write_text("{")
    assert main(["list", str(root)]) == 0
    out = capsys.readouterr().out
    assert "! " in out and "manifest.json" in out and "1 of 5 result files unreadable" in out


def test_a_path_rebuilds_and_prints_the_block(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["results/latest", "--reference", "sgd"]) == 0
    out = capsys.readouterr().out
    assert out == read_block(root / "older") and out.splitlines()[-1] == "report  results/older/report.html"
    assert "the reference sgd is not there; adamw stands in" in out


@pytest.mark.parametrize("arguments", [["results/nowhere"], ["list", "nowhere"], ["results/broken"]])
def test_what_is_no_sweep_is_one_line_and_exit_2(
    root: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    (root / "broken").mkdir()
    (root / "broken" / "manifest.json").write_text("{")
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and len(captured.err.splitlines()) == 1 and arguments[-1] in captured.err
