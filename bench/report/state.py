"""What of a sweep is missing or failed, and the one command that runs only that."""

from __future__ import annotations

import shlex
from collections import Counter
from pathlib import Path

from bench.report.escape import clean, shorten
from bench.report.listing import align
from bench.report.load import load
from bench.report.sweep import RunEnd

# Ends that a repeated command leaves alone unless `retry=` names them.
_RETRIED = ("failed", "oom", "timeout", "killed", "interrupted")
_HEADERS = ("arena", "optimizer", "runs", "reason")


def write_status(folder: Path) -> str:
    """Return the cells of a sweep with runs that are missing or failed, and the command for only those.

    Args:
        folder: `results/<sweep>`.

    Raises:
        StoreError: There is no readable manifest.
    """
    sweep = load(folder, None)
    rows, open_ends, settled = [], [], 0
    for arena in sweep.arenas:
        for cell in arena.all_cells:
            if cell.obstacle is not None:
                rows.append(
                    (shorten(arena.name, 32), shorten(cell.label, 24), "none", shorten(cell.obstacle, 60))
                )
                continue
            troubled = [end for end in cell.ends if end.status not in ("finished", "diverged")]
            settled += len(cell.ends) - len(troubled)
            open_ends += troubled
            if troubled or not cell.ends:
                reason = next((end.detail for end in troubled if end.detail), None) or "no setting finished"
                rows.append(
                    (shorten(arena.name, 32), shorten(cell.label, 24), _count(troubled), shorten(reason, 60))
                )
    head = f"{sweep.manifest.name}: {settled} of {len(sweep.ends)} runs settled"
    head += ", interrupted" * sweep.manifest.is_interrupted
    if not rows and not sweep.unreadable:
        return shorten(head, 100) + "; nothing is missing\n"
    lines = [shorten(head, 100), *(align([_HEADERS, *rows]) if rows else [])]
    lines += [shorten(f"! {line}", 200) for line in sweep.unreadable]
    if open_ends or sweep.manifest.is_interrupted:
        retried = [status for status in _RETRIED if any(end.status == status for end in open_ends)]
        command = clean(sweep.manifest.command)
        retry = f" {shlex.quote('retry=' + ','.join(retried))}" if retried else ""
        lines += ["this runs only those, the store answers the rest:", f"  {command}{retry}"]
    return "\n".join(lines) + "\n"


def _count(ends: list[RunEnd]) -> str:
    counts = Counter("not run" if end.status == "missing" else end.status for end in ends)
    return ", ".join(f"{num} {status}" for status, num in counts.items()) or "no runs"
