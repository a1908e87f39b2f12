"""Which sweeps there are, and how far each got."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.errors import StoreError
from bench.identity import run_id
from bench.index import load
from bench.record import read_record
from bench.report.escape import measure, shorten
from bench.result import Manifest, StudyRecord

_HEADERS = ("sweep", "started", "studies", "runs ok/total")


@dataclass(frozen=True, kw_only=True)
class Listed:
    """One sweep of a results folder, and how far it got."""

    folder: Path
    manifest: Manifest
    num_ok: int
    num_runs: int

    @property
    def runs(self) -> str:
        """`4/6`, and whether it was interrupted."""
        return f"{self.num_ok}/{self.num_runs}{' (interrupted)' * self.manifest.is_interrupted}"


def list_sweeps(root: Path) -> str:
    """Return one line per sweep of a results folder, the newest first.

    Args:
        root: `results/`.

    Raises:
        StoreError: There is no such folder.
    """
    sweeps, troubles = find_sweeps(root)
    if not sweeps and not troubles:
        return f"no sweeps in {root}\n"
    rows = [
        (
            shorten(sweep.folder.name, 56),
            shorten(sweep.manifest.started_at[:16].replace("T", " "), 16),
            str(len(sweep.manifest.studies)),
            sweep.runs,
        )
        for sweep in sweeps
    ]
    lines = align([_HEADERS, *rows])
    return "\n".join([*lines, *(shorten(line, 200) for line in troubles)]) + "\n"


def find_sweeps(root: Path) -> tuple[list[Listed], list[str]]:
    """Return the sweeps of a results folder, the newest first, and a line for each trouble in reading them.

    Raises:
        StoreError: There is no such folder.
    """
    if not root.is_dir():
        raise StoreError(f"{root}: no such folder")
    index = load(root)
    finished = set(index.loc[index["status"] == "finished", "id"])
    sweeps, troubles = [], []
    for path in sorted(root.glob("*/manifest.json")):
        # `latest` is another name for one of the others.
        if path.parent.is_symlink():
            continue
        try:
            manifest = read_record(path, Manifest)
            ok, total = _count_runs(path.parent, manifest, finished)
        except StoreError as error:
            troubles.append(f"! {error}")
            continue
        sweeps.append(Listed(folder=path.parent, manifest=manifest, num_ok=ok, num_runs=total))
    sweeps.sort(key=lambda sweep: (sweep.manifest.started_at, sweep.folder.name), reverse=True)
    unreadable = int(index["error"].notna().sum())
    if unreadable:
        troubles.append(f"! {unreadable} of {len(index)} result files unreadable")
    return sweeps, troubles


def align(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows of text as lines, every column as wide as its widest cell."""
    widths = [max(measure(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell + " " * (width - measure(cell)) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in rows
    ]


def _count_runs(folder: Path, manifest: Manifest, finished: set[str]) -> tuple[int, int]:
    """Return how many of a sweep's runs finished, and how many it has; a run asked for twice counts once."""
    runs: set[str] = set()
    for name in manifest.studies:
        if Path(name).name == name:
            runs.update(run_id(run) for run in read_record(folder / "studies" / name, StudyRecord).runs)
    return len(runs & finished), len(runs)
