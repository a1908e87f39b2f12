"""docs/columns.md is what the code says, and says something of every column of every CSV that is written."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from bench.cost import Memory, Prediction, Predictions
from bench.kinds import SCHEMA
from bench.report.__main__ import main
from bench.report.build import build, default_sections
from bench.report.columns import FILES, list_columns
from bench.report.prediction import write_predictions
from tests.arenas import BETTER, REFERENCE, WORSE, write_arenas
from tests.report.conftest import undrawn
from tests.sweeps import make_search, make_study, make_tuned_study, write_sweep

PAGE = Path(__file__).resolve().parents[2] / "docs" / "columns.md"
LRS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)


def make_predictions() -> Predictions:
    """Return one cell with everything that do=predict can find."""
    memory = Memory(
        params_bytes=400,
        buffers_bytes=0,
        grads_bytes=400,
        state_bytes=800,
        saved_bytes=100,
        batch_bytes=10,
        peak_bytes=2000,
        phase="backward",
        phases={"data": 1, "forward": 2, "backward": 2000, "optimizer": 3},
        is_lower_bound=False,
    )
    row = Prediction(
        status="finished",
        detail=None,
        settings={
            "model": "mlp",
            "optimizer": "adam",
            "precision": "fp32",
            "recompute": "none",
            "model.width": 8,
        },
        device="cpu",
        data="photo",
        batch_size=4,
        num_params=100,
        memory=memory,
        measured_bytes=2000,
        measured_detail=None,
        limit_bytes=4000,
        largest_batch=8,
        is_all_rows=False,
        flops_ratio=1.3,
    )
    return Predictions(schema=SCHEMA, command="x", machine="cpu", torch="2", wall_s=1.0, rows=(row,))


@pytest.fixture(scope="module")
def folders(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Sweeps with every chapter between them: tuned, over factors, over arenas, over horizons, of noise."""
    root = tmp_path_factory.mktemp("columns")
    tuned = [make_tuned_study(name) for name in ("adamw", "sgd")]
    searches = [make_search(study, tried={lr: [0.01 + lr] * 3 for lr in LRS}) for study in tuned]
    ladder = [(make_tuned_study("adamw", horizon=each), [0.02 / each, 0.021 / each]) for each in (0.5, 1, 2)]
    ladder += [(make_tuned_study("lion"), [0.015, 0.016])]
    factors = [
        (make_study(name, weight_decay=decay), [0.01 + decay, 0.0101 + decay, 0.0102 + decay])
        for name in ("adamw", "sgd")
        for decay in (0.01, 0.1)
    ]
    built = [
        write_sweep(root / "a", [(study, REFERENCE) for study in tuned], search=searches),
        write_sweep(root / "b", ladder),
        write_sweep(root / "c", factors),
        write_arenas(root / "d", [{"adamw": REFERENCE, "sgd": WORSE, "lion": BETTER}] * 3),
    ]
    # Their columns are what is asked for; the golden sweep's figures are drawn.
    with undrawn():
        for folder in built:
            build(folder, default_sections(), None)
        noise = write_sweep(root / "e", [(make_study(name), REFERENCE) for name in ("adamw", "sgd")])
        build(noise, default_sections("noise"), None)
        write_predictions(root / "predicted", make_predictions())
    return [golden, *built, noise, root / "predicted"]


def test_every_file_and_every_column_is_documented(folders: list[Path]) -> None:
    page = PAGE.read_text()
    known = set(re.findall(r"^\| `([\w.]+)` \|", page, re.MULTILINE))
    stems = set(re.findall(r"^\| `(\w+/\w+)\*\.csv` \|", page, re.MULTILINE))
    strange, files = set(), set()
    for folder in folders:
        for path in (*folder.glob("tables/*.csv"), *folder.glob("figures/*.csv")):
            name = f"{path.parent.name}/{path.stem}"
            files.add(name)
            if not any(name == stem or name.startswith(f"{stem}_") for stem in stems):
                strange.add(name)
            with path.open(newline="") as file:
                strange |= {column for column in next(csv.reader(file)) if "." not in column} - known
    assert not strange
    # The sweeps above reach most of what is documented, so a new chapter's columns are held against it too.
    reached = {stem for stem in stems for name in files if name == stem or name.startswith(f"{stem}_")}
    assert len(reached) > 0.7 * len(FILES), set(FILES) - reached


def test_the_page_is_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["columns"]) == 0
    assert capsys.readouterr().out == PAGE.read_text()


def test_no_column_stands_twice_or_without_words() -> None:
    rows = re.findall(r"^\| `([\w.]+)` \| (.*) \|$", PAGE.read_text(), re.MULTILINE)
    names = [name for name, _ in rows]
    assert names == sorted(set(names)) == list_columns()
    assert all(len(text) > 3 and text != "None" for _, text in rows)
