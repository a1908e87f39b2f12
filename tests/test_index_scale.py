"""Ten thousand stored runs, and a hundred thousand: soon indexed, and no report feels them."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench import index
from bench.record import encode
from bench.report.build import build, default_sections
from bench.store import Store
from tests.sweeps import make_machine, make_result, make_run, make_study, write_sweep

# CPU seconds on 2 cores, and bytes.
MAX_INDEX_S, MAX_REPORT_S = 4.0, 10.0
MAX_LARGE_INDEX_S, MAX_LARGE_BYTES = 30.0, 2**30
# Asked in a process of its own, whose peak is the index's alone.
PROBE = """
import resource, sys, time
from pathlib import Path
from bench import index
start = time.process_time()
num = len(index.load(Path(sys.argv[1])))
print(num, time.process_time() - start, 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def store_runs(root: Path, num: int) -> None:
    """Write so many results as the store lays them out, but unsynced: one record under as many ids."""
    machine = make_machine()
    result = make_result(make_run(make_study(), 0), 0.01, machine)
    content, own = encode(result), result.id.encode()
    store = Store(root)
    for number in range(num):
        # Spread over the folders as a hash is.
        identity = f"{number * 2654435761 % 2**64:016x}"[::-1].ljust(len(result.id), "0")
        folder = store.run_folder(identity, machine)
        folder.mkdir(parents=True)
        (folder / "result.json").write_bytes(content.replace(own, identity.encode()))


@pytest.mark.thorough
def test_ten_thousand_runs_are_indexed_and_a_report_beside_them_is_soon_built(tmp_path: Path) -> None:
    root = tmp_path / "results"
    folder = write_sweep(root, [(make_study(name), [0.01, 0.0101, 0.0102]) for name in ("adam", "adamw")])
    for number in range(200):
        # As many sweeps name runs of their own: the page over all of them counts each.
        shutil.copytree(folder, root / f"sweep-{number}")
    store_runs(root, 10_000)
    start = time.process_time()
    frame = index.load(root)
    spent = time.process_time() - start
    assert len(frame) == 10_006 and frame["error"].isna().all() and frame["id"].nunique() == 10_006
    assert spent < MAX_INDEX_S
    start = time.process_time()
    page = build(folder, default_sections(), None)
    assert time.process_time() - start < MAX_REPORT_S
    assert "could not be written" not in page.read_text()
    assert (root / "index.html").read_text().count("6/6") == 201


@pytest.mark.slow
def test_a_hundred_thousand_runs_are_indexed_in_half_a_minute_and_a_gigabyte(tmp_path: Path) -> None:
    root = tmp_path / "results"
    store_runs(root, 100_000)
    done = subprocess.run(
        [sys.executable, "-c", PROBE, str(root)], capture_output=True, text=True, check=True
    )
    num, spent, peak = map(float, done.stdout.split())
    assert num == 100_000
    assert spent < MAX_LARGE_INDEX_S and peak < MAX_LARGE_BYTES, (spent, peak)
