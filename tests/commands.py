"""Run the real commands in a process of their own, as a user does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec

from bench.result import Manifest, Result, StudyRecord
from bench.store import Store, read_record

REPOSITORY = Path(__file__).resolve().parent.parent
# Runs the door and says on stderr's last line whether torch was ever imported.
_WATCHED = """
import sys
sys.argv = ["bench", *sys.argv[1:]]
from bench.cli import main
try:
    main()
finally:
    print("torch imported" if "torch" in sys.modules else "torch not imported", file=sys.stderr)
"""


def run_bench(
    *arguments: str, cwd: Path, is_watched: bool = False, **variables: str
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", _WATCHED] if is_watched else [sys.executable, "-m", "bench"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(cwd)])} | variables
    return subprocess.run(
        [*command, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, timeout=300
    )


class Sweep(msgspec.Struct):
    """What a sweep left on disk, read back."""

    folder: Path
    manifest: Manifest
    studies: list[StudyRecord]
    results: list[list[Result]]


def read_sweep(results: Path, name: str = "latest") -> Sweep:
    """Read a sweep's folder and the results of its runs."""
    folder = (results / name).resolve()
    manifest = read_record(folder / "manifest.json", Manifest)
    studies = [read_record(folder / "studies" / name, StudyRecord) for name in manifest.studies]
    store = Store(results)
    from bench.identity import run_id

    found = [
        [store.find(run_id(run), manifest.machine) or study.unsettled[run_id(run)] for run in study.runs]
        for study in studies
    ]
    return Sweep(folder, manifest, studies, found)
