"""Results on disk: one immutable file per run and machine kind, published atomically, read strictly."""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from bench.errors import StoreError
from bench.kinds import SCHEMA
from bench.publish import link_new, persist, write_atomic
from bench.result import SETTLED, Cost, Machine, Manifest, Result, StudyRecord

T = TypeVar("T", bound=msgspec.Struct)

# A result is a few KB, a long curve a few hundred; a larger file is not one of ours.
MAX_RECORD_BYTES = 16 * 2**20


class Store:
    """The folder `results/`: runs, costs, and one folder per sweep.

    Args:
        root: The folder; made when something is first written.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def run_folder(self, run_id: str, machine: Machine) -> Path:
        """Return the folder of one run on one kind of machine."""
        return self.root / "runs" / run_id[:2] / run_id / environment(machine)

    def cost_path(self, cost_id: str, machine: Machine) -> Path:
        """Return the file of one cost measurement on one kind of machine."""
        return self.root / "costs" / cost_id[:2] / cost_id / environment(machine) / "cost.json"

    def sweep_folder(self, name: str) -> Path:
        """Return the folder of one sweep."""
        return self.root / name

    def find(self, run_id: str, machine: Machine) -> Result | None:
        """Return the settled result of a run on this kind of machine, or None.

        Raises:
            StoreError: The file is there but unreadable.
        """
        return _read_if_there(self.run_folder(run_id, machine) / "result.json", Result)

    def find_cost(self, cost_id: str, machine: Machine) -> Cost | None:
        """Return the cost measured on this kind of machine, or None."""
        return _read_if_there(self.cost_path(cost_id, machine), Cost)

    def last_attempt(self, run_id: str, machine: Machine) -> Result | None:
        """Return the newest unsettled end of a run on this kind of machine, or None."""
        folder = self.attempt_folder(run_id, machine)
        return None if folder is None else read_record(folder / "attempt.json", Result)

    def attempt_folder(self, run_id: str, machine: Machine) -> Path | None:
        """Return the folder of a run's newest unsettled end on this kind of machine, or None."""
        folder = self.run_folder(run_id, machine) / "attempts"
        numbers = _attempt_numbers(folder)
        return folder / str(numbers[-1]) if numbers else None

    def count_attempts(self, run_id: str, machine: Machine, *statuses: str) -> int:
        """Return the number of unsettled ends of a run on this kind of machine: all, or those of a status."""
        folder = self.run_folder(run_id, machine) / "attempts"
        numbers = _attempt_numbers(folder)
        if not statuses or not numbers:
            return len(numbers)
        ends = (read_record(folder / str(number) / "attempt.json", Result) for number in numbers)
        return sum(end.status in statuses for end in ends)

    def publish(self, result: Result, artifacts: dict[str, bytes] | None = None) -> Result:
        """Write one ended run: a settled one for good, any other as an attempt that may be tried again.

        Args:
            result: What came of the run.
            artifacts: Files to keep beside it, by name.

        Returns:
            The result that holds: the first one published under this id, ours or another process's.
        """
        folder = self.run_folder(result.id, result.machine)
        if result.status not in SETTLED:
            _publish_attempt(folder / "attempts", result, artifacts or {})
            return result
        _write_all(folder, artifacts or {})
        if link_new(folder / "result.json", encode(result)):
            return result
        # Someone who took this one for dead was quicker: a row there is, and this end is kept beneath it.
        _publish_attempt(folder / "attempts", result, {})
        return read_record(folder / "result.json", Result)

    def publish_cost(self, cost: Cost) -> Cost:
        """Write one cost measurement; the first one published under its id holds."""
        path = self.cost_path(cost.id, cost.machine)
        return cost if link_new(path, encode(cost)) else read_record(path, Cost)

    def write_sweep(self, manifest: Manifest, studies: dict[str, StudyRecord]) -> Path:
        """Write a sweep's folder: its studies first, then the manifest that names them.

        Args:
            manifest: What the sweep says of itself.
            studies: File name under `studies/` -> record.

        Returns:
            The sweep's folder.
        """
        folder = self.sweep_folder(manifest.name)
        for name, record in studies.items():
            write_atomic(folder / "studies" / name, encode(record))
        write_atomic(folder / "manifest.json", encode(manifest))
        return folder


def environment(machine: Machine) -> str:
    """Return the part of a machine that a stored result must share to answer for it.

    Returns:
        A readable folder name: torch's minor version, the device kind, the device's name.
    """
    minor = ".".join(machine.torch.split("+")[0].split(".")[:2])
    name = re.sub(r"[^a-z0-9]+", "-", machine.device_name.lower()).strip("-")[:48]
    return f"torch{minor}-{machine.device}-{name}"


def encode(record: msgspec.Struct) -> bytes:
    """Return a record as JSON: one stable key order, indented, so that a diff reads well."""
    return msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n"


def read_record(path: Path, kind: type[T]) -> T:
    """Read one record strictly.

    Args:
        path: A file written by this module.
        kind: The record expected there.

    Raises:
        StoreError: The file is absent, too large, from a newer schema, or not such a record; one line.
    """
    try:
        content = persist(path, lambda: _read(path))
        schema = msgspec.json.decode(content, type=_Versioned).schema
        if schema > SCHEMA:
            raise StoreError(
                f"{path}: written by a newer bench (schema {schema}, this one reads up to {SCHEMA})"
            )
        record = msgspec.json.decode(content, type=kind)
        if encode(record) != content:
            # Written by another version, or by hand; of a key that is there twice the last would win.
            json.loads(content, object_pairs_hook=_refuse_twice)
        return record
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror or error}") from error
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise StoreError(f"{path}: not a {kind.__name__.lower()} record: {error}") from error


def _read_if_there(path: Path, kind: type[T]) -> T | None:
    try:
        persist(path, lambda: os.stat(path))
    except FileNotFoundError:
        return None
    return read_record(path, kind)


def _read(path: Path) -> bytes:
    # Not waiting: whoever made a pipe of that name need never write to it.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise StoreError(f"{path}: not a file")
        if found.st_size > MAX_RECORD_BYTES:
            raise StoreError(f"{path}: {found.st_size} bytes, a record has at most {MAX_RECORD_BYTES}")
        return file.read(MAX_RECORD_BYTES)


def _refuse_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"`{next(name for name in names if names.count(name) > 1)}` is there twice")
    return found


class _Versioned(msgspec.Struct):
    schema: int


def _publish_attempt(folder: Path, result: Result, artifacts: dict[str, bytes]) -> None:
    number = 1 + max(_attempt_numbers(folder), default=0)
    while not link_new(folder / str(number) / "attempt.json", encode(result)):
        number += 1
    _write_all(folder / str(number), artifacts)


def _write_all(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        write_atomic(folder / name, content)


def _attempt_numbers(folder: Path) -> list[int]:
    try:
        names = persist(folder, lambda: os.listdir(folder))
    except FileNotFoundError:
        return []
    numbers = sorted(int(name) for name in names if name.isdigit())
    # A folder without the file is what someone who died left on the way to it.
    return [number for number in numbers if (folder / str(number) / "attempt.json").exists()]
