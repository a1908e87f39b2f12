"""Results on disk: one immutable file per run and machine kind, published atomically, read strictly."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from pathlib import Path
from typing import TypeVar

import msgspec

from bench.errors import StoreError
from bench.kinds import SCHEMA
from bench.result import SETTLED, Cost, Machine, Manifest, Result, StudyRecord

T = TypeVar("T")

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
        path = self.run_folder(run_id, machine) / "result.json"
        return read_record(path, Result) if path.exists() else None

    def find_cost(self, cost_id: str, machine: Machine) -> Cost | None:
        """Return the cost measured on this kind of machine, or None."""
        path = self.cost_path(cost_id, machine)
        return read_record(path, Cost) if path.exists() else None

    def last_attempt(self, run_id: str, machine: Machine) -> Result | None:
        """Return the newest unsettled end of a run on this kind of machine, or None."""
        numbers = _attempt_numbers(self.run_folder(run_id, machine) / "attempts")
        if not numbers:
            return None
        folder = self.run_folder(run_id, machine) / "attempts" / str(numbers[-1])
        return read_record(folder / "attempt.json", Result)

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
        if _link_new(folder / "result.json", encode(result)):
            return result
        return read_record(folder / "result.json", Result)

    def publish_cost(self, cost: Cost) -> Cost:
        """Write one cost measurement; the first one published under its id holds."""
        path = self.cost_path(cost.id, cost.machine)
        return cost if _link_new(path, encode(cost)) else read_record(path, Cost)

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
        if path.stat().st_size > MAX_RECORD_BYTES:
            raise StoreError(f"{path}: {path.stat().st_size} bytes, a record has at most {MAX_RECORD_BYTES}")
        content = path.read_bytes()
        schema = msgspec.json.decode(content, type=_Versioned).schema
        if schema > SCHEMA:
            raise StoreError(
                f"{path}: written by a newer bench (schema {schema}, this one reads up to {SCHEMA})"
            )
        return msgspec.json.decode(content, type=kind)
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror or error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise StoreError(f"{path}: not a {kind.__name__.lower()} record: {error}") from error


def write_atomic(path: Path, content: bytes) -> None:
    """Replace a derived file in one step, so that no reader ever sees half of it."""
    temporary = _write_temporary(path, content)
    try:
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StoreError(f"{path}: {error.strerror or error}") from error


class _Versioned(msgspec.Struct):
    schema: int


def _publish_attempt(folder: Path, result: Result, artifacts: dict[str, bytes]) -> None:
    number = 1 + max(_attempt_numbers(folder), default=0)
    while not _link_new(folder / str(number) / "attempt.json", encode(result)):
        number += 1
    _write_all(folder / str(number), artifacts)


def _write_all(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        write_atomic(folder / name, content)


def _attempt_numbers(folder: Path) -> list[int]:
    if not folder.is_dir():
        return []
    return sorted(int(entry.name) for entry in folder.iterdir() if entry.name.isdigit())


def _link_new(path: Path, content: bytes) -> bool:
    """Publish a file under its final name unless one is there: temp, fsync, link; the first writer wins."""
    temporary = _write_temporary(path, content)
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)
    return True


def _write_temporary(path: Path, content: bytes) -> Path:
    temporary = path.parent / f".tmp.{os.getpid()}.{secrets.token_hex(4)}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        with contextlib.suppress(OSError):  # Where the folder is a file, even this fails.
            temporary.unlink(missing_ok=True)
        raise StoreError(f"{path}: {error.strerror or error}") from error
    return temporary


def _sync_folder(folder: Path) -> None:
    # Some file systems refuse to open a folder; the link itself is already made.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
