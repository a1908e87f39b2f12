"""Which sweeps there are, and how far each got."""

from __future__ import annotations

from pathlib import Path

from bench.errors import StoreError
from bench.identity import run_id
from bench.index import load
from bench.report.escape import measure, shorten
from bench.result import Manifest, StudyRecord
from bench.store import read_record

_HEADERS = ("sweep", "started", "studies", "runs ok/total")


def list_sweeps(root: Path) -> str:
    """Return one line per sweep of a results folder, the newest first.

    Args:
        root: `results/`.

    Raises:
        StoreError: There is no such folder.
    """
    if not root.is_dir():
        raise StoreError(f"{root}: no such folder")
    index = load(root)
    finished = set(index.loc[index["status"] == "finished", "id"])
    rows, troubles = [], []
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
        state = " (interrupted)" if manifest.is_interrupted else ""
        rows.append(
            (manifest.started_at, path.parent.name, str(len(manifest.studies)), f"{ok}/{total}{state}")
        )
    if not rows and not troubles:
        return f"no sweeps in {root}\n"
    rows.sort(reverse=True)
    shown = [
        _HEADERS,
        *((shorten(name, 56), shorten(when[:16].replace("T", " "), 16), *rest) for when, name, *rest in rows),
    ]
    widths = [max(measure(row[column]) for row in shown) for column in range(len(_HEADERS))]
    lines = [
        "  ".join(
            cell + " " * (width - measure(cell)) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in shown
    ]
    unreadable = int(index["error"].notna().sum())
    if unreadable:
        troubles.append(f"! {unreadable} of {len(index)} result files unreadable")
    return "\n".join([*lines, *(shorten(line, 200) for line in troubles)]) + "\n"


def _count_runs(folder: Path, manifest: Manifest, finished: set[str]) -> tuple[int, int]:
    """Return how many of a sweep's runs finished, and how many it has; a run asked for twice counts once."""
    runs: set[str] = set()
    for name in manifest.studies:
        if Path(name).name == name:
            runs.update(run_id(run) for run in read_record(folder / "studies" / name, StudyRecord).runs)
    return len(runs & finished), len(runs)
