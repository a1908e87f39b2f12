"""What an earlier version stored is still read: a kept file and a kept sweep of each schema."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bench.kinds import SCHEMA
from bench.record import read_record
from bench.report.build import build, default_sections, read_block
from bench.report.load import load
from bench.result import Result
from tests.records import make_result

FOLDER = Path(__file__).parent


def test_there_is_a_file_of_every_schema() -> None:
    names = {path.name for path in FOLDER.glob("result_schema_*.json")}
    assert names == {f"result_schema_{schema}.json" for schema in range(1, SCHEMA + 1)}


@pytest.mark.parametrize("path", sorted(FOLDER.glob("result_schema_*.json")), ids=lambda path: path.stem)
def test_a_kept_file_is_read_as_it_was_meant(path: Path) -> None:
    found, known = read_record(path, Result), make_result()
    assert found.status == "finished" and found.notes == ("resumed after step 5 of 20",)
    assert (found.val_loss, found.curve, found.machine) == (known.val_loss, known.curve, known.machine)
    assert (found.run.optimizer, found.run.budget) == (known.run.optimizer, known.run.budget)


@pytest.mark.parametrize("kept", sorted(FOLDER.glob("sweep_schema_*")), ids=lambda path: path.name)
def test_a_kept_sweep_makes_a_report(kept: Path, tmp_path: Path) -> None:
    """Its manifest, studies with their searches, results and costs, as a command of then left them."""
    results = tmp_path / "results"
    shutil.copytree(kept, results)
    build(results / "kept", default_sections(), None)
    sweep = load(results / "kept", None)
    assert sweep.unreadable == () and {end.status for end in sweep.ends} == {"finished"}
    cells = {cell.label: cell for arena in sweep.arenas for cell in arena.cells}
    assert {name: cell.lr for name, cell in cells.items()} == {"adam": 0.0316227766017, "sgd": 3.16227766017}
    for cell in cells.values():
        assert cell.cost is not None and cell.cost.step_p50_s is not None and cell.cost.step_p50_s > 0
        assert cell.search is not None and len(cell.search.trials) > 2 and len(cell.losses) == 2
    block = read_block(results / "kept")
    assert "0.347" in block and "1.258" in block
