"""What an earlier version stored is still read: a kept file of each schema that there has been."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.kinds import SCHEMA
from bench.record import read_record
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
