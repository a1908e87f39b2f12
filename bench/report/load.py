"""Reading a sweep's folder: a damaged file costs its own row and a warning, never the report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePath
from typing import TypeVar

import msgspec

from bench.errors import StoreError
from bench.identity import run_id
from bench.record import read_record
from bench.report.group import group_arenas
from bench.report.sweep import Cell, RunEnd, Sweep
from bench.result import Cost, Manifest, StudyRecord
from bench.spec import Run, Study
from bench.store import Store, environment

T = TypeVar("T")


def load(folder: Path, reference: str | None, margin: float | None = None) -> Sweep:
    """Read one sweep.

    Args:
        folder: The sweep's folder; the runs lie beside it.
        reference: Name or label of the optimizer to compare with; None: the one the sweep names, else adamw,
            else the first by name.
        margin: Difference that does not matter, on each workload's own scale; None: what it declares. Another
            one makes it a modified workload.

    Raises:
        StoreError: There is no readable manifest.
    """
    folder = folder.resolve()
    manifest = read_record(folder / "manifest.json", Manifest)
    reader = _Reader(Store(folder.parent))
    cells = []
    num_cached = 0
    places = []
    for name in manifest.studies:
        record = reader.read(lambda name=name: read_study(folder, name))  # type: ignore[misc]
        if record is None:
            continue
        reference = reference or record.study.report.reference
        num_cached += record.num_cached
        ends = tuple(sorted((reader.end(run, record) for run in record.runs), key=lambda end: end.run.seed))
        cell = Cell(
            label=record.study.optimizer.name,
            study=record.study if margin is None else _replace_margin(record.study, margin),
            ends=ends,
            cost=reader.cost(record),
            search=record.search,
            metering_detail=record.metering_detail,
        )
        # Where nothing can run, a search of nothing but failures is none.
        cells.append(cell if cell.obstacle is None else replace(cell, search=None, metering_detail=None))
        places.append(environment(record.machine))
    if len(set(places)) > 1:
        # No loss and no cost crosses from one machine to another.
        cells = [replace(cell, hardware=place) for cell, place in zip(cells, places, strict=True)]
    return Sweep(
        folder=folder,
        manifest=manifest,
        arenas=group_arenas(cells, reference),
        unreadable=tuple(reader.unreadable),
        num_files=reader.num_files,
        num_cached=num_cached,
        reference=reference,
    )


def read_study(folder: Path, name: str) -> StudyRecord:
    """Read one study of a sweep.

    Args:
        folder: The sweep's.
        name: As its manifest has it.

    Raises:
        StoreError: It is not there, can't be read, or lies outside the folder.
    """
    # The name comes from a file: it may not lead out of the sweep's folder.
    if PurePath(name).name != name or "\\" in name:
        raise StoreError(f"{folder / 'manifest.json'}: studies: {name!r} is not a plain file name")
    return read_record(folder / "studies" / name, StudyRecord)


def _replace_margin(study: Study, margin: float) -> Study:
    if study.workload.margin == margin:
        return study
    workload = msgspec.structs.replace(study.workload, margin=margin)
    return msgspec.structs.replace(study, workload=workload, is_workload_modified=True)


class _Reader:
    """Reads what a sweep names, and keeps count of what it could not read."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.unreadable: list[str] = []
        self.num_files = 0

    def read(self, find: Callable[[], T | None]) -> T | None:
        try:
            found = find()
        except StoreError as error:
            self.num_files += 1
            self.unreadable.append(str(error))
            return None
        self.num_files += found is not None
        return found

    def end(self, run: Run, record: StudyRecord) -> RunEnd:
        """Return how a run ended: its settled result, else what the study says, else its newest attempt."""
        identity = run_id(run)
        before = len(self.unreadable)
        machine = record.machine
        result = self.read(lambda: self.store.find(identity, machine))
        folder = self.store.run_folder(identity, machine) if result else None
        if result is None:
            result = record.unsettled.get(identity)
        if result is None:
            result = self.read(lambda: self.store.last_attempt(identity, machine))
        if result is not None:
            # A finished run without a finite loss says nothing: it must not pass for one that does.
            is_hollow = result.status == "finished" and result.val_loss is None
            status: str = "failed" if is_hollow else result.status
            detail = "finished without a validation loss" if is_hollow else result.detail
            return RunEnd(id=identity, run=run, status=status, detail=detail, result=result, folder=folder)
        absent = ("missing", "not run")
        if len(self.unreadable) > before:
            absent = ("unreadable", "result file unreadable")
        return RunEnd(id=identity, run=run, status=absent[0], detail=absent[1], result=None, folder=None)

    def cost(self, record: StudyRecord) -> Cost | None:
        identity = record.metering_id
        # The id becomes part of a path.
        if identity is None or not identity.isalnum():
            return None
        return self.read(lambda: self.store.find_cost(identity, record.machine))
