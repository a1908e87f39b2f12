"""Results on disk: one immutable file per run and machine kind, published atomically, read strictly."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from pathlib import Path
from typing import TypeVar

from bench.errors import StoreError
from bench.publish import link_new, name_once, persist, write_atomic
from bench.record import encode, read_record
from bench.result import SETTLED, Cost, Machine, Manifest, Result, StudyRecord

T = TypeVar("T", Result, Cost)


class Store:
    """The folder `results/`: runs, costs, and one folder per sweep.

    Args:
        root: The folder; made when something is first written.
        is_lenient: Whether what can't be read counts as absent, as a sweep wants it: it trains that again.
    """

    def __init__(self, root: Path, *, is_lenient: bool = False) -> None:
        self.root = root
        self._is_lenient = is_lenient
        # What was asked for and is there; of that, what can't be read, and why.
        self._found: set[Path] = set()
        self._unreadable: dict[Path, str] = {}

    def describe_unreadable(self) -> str | None:
        """Return one line about the files so far that can't be read; None: there are none."""
        if not self._unreadable:
            return None
        count = f"{len(self._unreadable)} of {len(self._found)} stored results unreadable"
        first = next(iter(self._unreadable.values()))
        return f"{count}: first {first}; what can't be read is kept, and made again"

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
        return self._read(self.run_folder(run_id, machine) / "result.json", Result, run_id)

    def find_cost(self, cost_id: str, machine: Machine) -> Cost | None:
        """Return the cost measured on this kind of machine, or None."""
        return self._read(self.cost_path(cost_id, machine), Cost, cost_id)

    def last_attempt(self, run_id: str, machine: Machine) -> Result | None:
        """Return the newest unsettled end of a run on this kind of machine, or None."""
        folder = self.run_folder(run_id, machine) / "attempts"
        found = (self._read_attempt(folder, number, run_id) for number in reversed(_attempt_numbers(folder)))
        return next((attempt for attempt in found if attempt is not None), None)

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
        ends = (self._read_attempt(folder, number, run_id) for number in numbers)
        return sum(end.status in statuses for end in ends if end is not None)

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
        first = _publish_once(folder / "result.json", result)
        if first is not result:
            # Someone who took this one for dead was quicker: this end is kept beneath that row.
            _publish_attempt(folder / "attempts", result, {})
        return first

    def publish_cost(self, cost: Cost) -> Cost:
        """Write one cost measurement; the first one published under its id holds."""
        return _publish_once(self.cost_path(cost.id, cost.machine), cost)

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

    def _read_attempt(self, folder: Path, number: int, identity: str) -> Result | None:
        return self._read(folder / str(number) / "attempt.json", Result, identity)

    def _read(self, path: Path, kind: type[T], identity: str) -> T | None:
        """Return a record, or None where it is not there."""
        try:
            persist(path, lambda: os.stat(path))
            self._found.add(path)
            return _read_own(path, kind, identity)
        except FileNotFoundError:
            return None
        except StoreError as error:
            if not self._is_lenient:
                raise
            self._found.add(path)
            self._unreadable.setdefault(path, str(error))
            return None


def environment(machine: Machine) -> str:
    """Return the part of a machine that a stored result must share to answer for it.

    Returns:
        A readable folder name: torch's minor version, the device kind, the device's name.
    """
    minor = ".".join(machine.torch.split("+")[0].split(".")[:2])
    name = re.sub(r"[^a-z0-9]+", "-", machine.device_name.lower()).strip("-")[:48]
    return f"torch{minor}-{machine.device}-{name}"


def _read_own(path: Path, kind: type[T], identity: str) -> T:
    record = read_record(path, kind)
    if record.id != identity:
        raise StoreError(f"{path}: belongs to another id, {record.id[:32]!r}")
    return record


def _publish_once(path: Path, record: T) -> T:
    """Publish a record unless one is there; return the one that is. What can't be read makes room for it."""
    while not link_new(path, encode(record)):
        try:
            return _read_own(path, type(record), record.id)
        except StoreError:
            _set_aside(path, type(record), record.id)
    return record


def _set_aside(path: Path, kind: type[T], identity: str) -> None:
    """Give what can't be read another name beside it: it is nobody's to delete or to write over."""
    aside = path.with_name(f"{path.name}.unreadable-{secrets.token_hex(4)}")
    try:
        persist(path, lambda: os.rename(path, aside))
    except FileNotFoundError:
        return
    with contextlib.suppress(StoreError):
        _read_own(aside, kind, identity)
        # Someone was quicker, and this is what they published.
        with contextlib.suppress(FileExistsError):
            persist(path, lambda: name_once(aside, path))
            aside.unlink(missing_ok=True)


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
