"""The report says which trainings are ill, on what evidence, and what to type; of healthy ones one line."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pandas as pd

from bench.report.build import build
from bench.report.health import find_ill, write_command
from bench.report.load import load
from bench.report.section.health import show
from bench.report.shipped import default_health
from tests.commands import read_sweep, run_bench
from tests.sweeps import make_study, write_sweep

WELL: list[float | str] = [0.010, 0.011, 0.012]


def test_healthy_curves_are_one_line(tmp_path: Path) -> None:
    folder = write_sweep(tmp_path / "results", [(make_study(name), WELL) for name in ("adamw", "sgd")])
    assert show(load(folder, None)) == "All 6 training curves look healthy."


def test_an_ill_cell_is_a_row_with_evidence_and_a_command(tmp_path: Path) -> None:
    cells = [(make_study("adamw"), WELL), (make_study("sgd", lr=0.5), [5.0, 6.0, 0.01])]
    folder = write_sweep(tmp_path / "results", cells)
    (finding,) = find_ill(load(folder, None))
    assert finding.cell.label == "sgd" and finding.diagnosis.kind == "exploding" and finding.seed == 0
    assert finding.counts == {"exploding": 2, "healthy": 1}
    command = write_command(load(folder, None), finding)
    assert command == "python -m bench -m optimizer=sgd optimizer.lr=0.05 clip_norm=1.0"
    build(folder, ["bench.report.section.health"], None)
    rows = pd.read_csv(folder / "tables" / "health.csv")
    assert list(rows["diagnosis"]) == ["exploding"] and list(rows["num_so"]) == [2]
    html = (folder / "report.html").read_text()
    assert "2 of 3" in html and command in html and "4 of 6 curves look healthy" in html


def test_the_lines_are_those_of_the_study(tmp_path: Path) -> None:
    study = make_study("adamw")
    strict = msgspec.structs.replace(default_health(), flat=0.999)
    report = msgspec.structs.replace(study.report, health=strict)
    folder = write_sweep(tmp_path / "results", [(msgspec.structs.replace(study, report=report), WELL)])
    assert [finding.diagnosis.kind for finding in find_ill(load(folder, None))] == ["flat"]


def test_a_search_gives_way_to_the_lr_that_is_advised(tmp_path: Path) -> None:
    study = make_study("sgd", lr=0.5)
    study = msgspec.structs.replace(study, search=msgspec.structs.replace(study.search, name="lr"))
    command = "python -m bench -m optimizer=adamw,sgd optimizer.lr=0.5,0.6 search=lr"
    folder = write_sweep(tmp_path / "results", [(study, [5.0, 5.0])], command=command)
    sweep = load(folder, None)
    (finding,) = find_ill(sweep)
    told = write_command(sweep, finding)
    assert told == "python -m bench -m optimizer=sgd optimizer.lr=0.05 search=none clip_norm=1.0"


def test_a_training_at_a_lr_of_next_to_nothing_is_flat(tmp_path: Path) -> None:
    asked = ("workload=digits_mlp", "budget=short", "search=none", "meter=none", "seeds=1")
    done = run_bench(*asked, "optimizer.lr=1e-7", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    folder = read_sweep(tmp_path / "results").folder
    (finding,) = find_ill(load(folder, None))
    assert finding.diagnosis.kind == "flat"
    html = (folder / "report.html").read_text()
    assert 'id="health"' in html and "could not be written" not in html
    # Another line is another report, and trains nothing.
    again = run_bench(*asked, "optimizer.lr=1e-7", "report.health.min_points=1000", cwd=tmp_path)
    assert again.returncode == 0 and "No training curve is long enough" in (folder / "report.md").read_text()
