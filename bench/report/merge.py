"""Several sweeps as one: their cells side by side, what one left held against what another did."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path, PurePath

import msgspec

from bench.errors import StoreError
from bench.identity import run_id
from bench.kinds import SCHEMA
from bench.record import read_record
from bench.report.load import read_study
from bench.result import Manifest, StudyRecord
from bench.store import Store, environment


def merge(folders: Sequence[Path]) -> Path:
    """Write a sweep's folder that names the cells of several, each once.

    Cells of the same arena then stand in one table; those of other hardware in one of their own. Of a cell
    that several sweeps have, the one with more seeds counts, the newer one among equals. Results of another
    results folder are copied into the first sweep's, as if they had been published there; nothing that lies
    there is replaced.

    Args:
        folders: Sweeps. Runs of one results folder stay where they are.

    Returns:
        The folder, `merged-<names>` beside the first: the same sweeps of one results folder in any order are
        the same folder.

    Raises:
        StoreError: A folder holds no sweep, or a result to be copied can't be read.
    """
    store = Store(folders[0].resolve().parent)
    folders = sorted({folder.resolve() for folder in folders})
    manifests = [read_record(folder / "manifest.json", Manifest) for folder in folders]
    newest_first = sorted(
        zip(manifests, folders, strict=True), key=lambda pair: pair[0].started_at, reverse=True
    )
    kept: dict[bytes, StudyRecord] = {}
    for manifest, folder in newest_first:
        for name in manifest.studies:
            record = read_study(folder, name)
            if folder.parent != store.root:
                _copy(record, Store(folder.parent), store)
            key = _key(record)
            other = kept.get(key)
            if other is not None and len(other.runs) >= len(record.runs):
                record, other = other, record
            if record.metering_id is None and other is not None:
                # What a step costs has nothing to do with the number of seeds.
                record = msgspec.structs.replace(record, metering_id=other.metering_id)
            kept[key] = record
    name = _name([PurePath(os.path.relpath(folder, store.root)).as_posix() for folder in folders])
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
    return store.write_sweep(merged, dict(zip(merged.studies, kept.values(), strict=True)))


def _copy(record: StudyRecord, there: Store, here: Store) -> None:
    """Publish what one store has of a study's runs in another, and what its step costs."""
    for identity in map(run_id, record.runs):
        if here.find(identity, record.machine) is not None:
            continue
        result = there.find(identity, record.machine)
        if result is not None:
            folder = there.run_folder(identity, record.machine)
            # A name from a file may not lead out of its folder.
            names = [name for name in result.artifacts if PurePath(name).name == name]
            here.publish(result, {name: _read(folder / name) for name in names if (folder / name).is_file()})
        elif identity not in record.unsettled and here.last_attempt(identity, record.machine) is None:
            attempt = there.last_attempt(identity, record.machine)
            if attempt is not None:
                here.publish(attempt)
    if record.metering_id is not None and record.metering_id.isalnum():
        cost = there.find_cost(record.metering_id, record.machine)
        if cost is not None:
            here.publish_cost(cost)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror or error}") from error


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
