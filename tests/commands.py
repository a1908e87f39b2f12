"""Run the real commands in a process of their own, as a user does."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
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
    """Run one command to its end: in a process forked from one that has imported what all of them import.

    A watched command starts from nothing, as the others do in `nox -s smoke`: that costs seconds each.
    """
    paths = [str(REPOSITORY), str(cwd)]
    if is_watched:
        return subprocess.run(
            [sys.executable, "-c", _WATCHED, *arguments],
            cwd=cwd,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)} | variables,
            capture_output=True,
            text=True,
            timeout=300,
        )
    context = multiprocessing.get_context("forkserver")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)} | variables
    with tempfile.TemporaryDirectory() as temporary:
        out, err = Path(temporary, "out"), Path(temporary, "err")
        process = context.Process(target=_run_door, args=(arguments, cwd, paths, environment, out, err))
        process.start()
        process.join(300)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired(list(arguments), 300, err.read_text())
        return subprocess.CompletedProcess(
            list(arguments), process.exitcode, out.read_text(), err.read_text()
        )


def _run_door(
    arguments: tuple[str, ...], cwd: Path, paths: list[str], environment: dict[str, str], out: Path, err: Path
) -> None:
    for number, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:0] = paths
    sys.argv = ["bench", *arguments]
    from bench.cli import main

    main()


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
