"""Several sweeps as one: their cells side by side, what one left held against what another did."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

from bench.errors import StoreError
from bench.kinds import SCHEMA
from bench.report.load import read_study
from bench.result import Manifest, StudyRecord
from bench.store import Store, environment, read_record


def merge(folders: Sequence[Path]) -> Path:
    """Write a sweep's folder that names the cells of several, each once; its runs stay where they are.

    Cells of the same arena then stand in one table; those of other hardware in one of their own. Of a cell
    that several sweeps have, the one with more seeds counts, the newer one among equals.

    Args:
        folders: Sweeps of one results folder.

    Returns:
        The folder, `results/merged-<names>`: the same sweeps in any order are the same folder.

    Raises:
        StoreError: A folder holds no sweep, or they lie in different results folders.
    """
    folders = sorted({folder.resolve() for folder in folders})
    if len({folder.parent for folder in folders}) > 1:
        raise StoreError(
            f"{folders[-1]}: wants a sweep of {folders[0].parent}, where runs are looked for; copy its files "
            "into that folder"
        )
    manifests = [read_record(folder / "manifest.json", Manifest) for folder in folders]
    newest_first = sorted(
        zip(manifests, folders, strict=True), key=lambda pair: pair[0].started_at, reverse=True
    )
    kept: dict[bytes, StudyRecord] = {}
    for manifest, folder in newest_first:
        for name in manifest.studies:
            record = read_study(folder, name)
            key = _key(record)
            other = kept.get(key)
            if other is not None and len(other.runs) >= len(record.runs):
                record, other = other, record
            if record.metering_id is None and other is not None:
                # What a step costs has nothing to do with the number of seeds.
                record = msgspec.structs.replace(record, metering_id=other.metering_id)
            kept[key] = record
    name = _name([folder.name for folder in folders])
    times = [manifest.wall_s for manifest in manifests]
    merged = Manifest(
        schema=SCHEMA,
        name=name,
        # Each of them made a part.
        command=" && ".join(dict.fromkeys(manifest.command for manifest, _ in reversed(newest_first))),
        started_at=min(manifest.started_at for manifest in manifests),
        ended_at=max((manifest.ended_at or "" for manifest in manifests), default=None) or None,
        wall_s=None if None in times else sum(time for time in times if time is not None),
        is_interrupted=any(manifest.is_interrupted for manifest in manifests),
        studies=tuple(f"{number}.json" for number in range(len(kept))),
        machine=newest_first[0][0].machine,
    )
    return Store(folders[0].parent).write_sweep(merged, dict(zip(merged.studies, kept.values(), strict=True)))


def _key(record: StudyRecord) -> bytes:
    """Return what two cells share that are the same one: all but number of seeds, place and report."""
    study = record.study
    plain = msgspec.to_builtins(study)
    for key in ("do", "place", "report", "retry", "meter", "predict", "device_memory_gib"):
        del plain[key]
    plain["seeds"] = study.seeds.vary
    return msgspec.json.encode((plain, environment(record.machine)), order="sorted")


def _name(names: Sequence[str]) -> str:
    slug = re.sub(r"[^a-z0-9_]+", "-", "-".join(names).lower()).strip("-")[:48].rstrip("-")
    return f"merged-{slug}-{hashlib.sha256(chr(10).join(names).encode()).hexdigest()[:6]}"
