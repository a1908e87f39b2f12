"""Why a run that was asked for has no answer, or was trained beside one: the fields in which it differs."""

from __future__ import annotations

import importlib.metadata
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pandas as pd

from bench import index
from bench.errors import StoreError
from bench.identity import run_id
from bench.record import read_record
from bench.report.difference import compare
from bench.report.escape import shorten
from bench.report.load import read_study
from bench.result import Machine, Manifest, Result
from bench.sources import digest_sources
from bench.spec import Run
from bench.store import Store, environment

# What differs in more is another run altogether.
MAX_FIELDS = 4
# Stored runs that look alike in the index and are then compared in everything.
_NUM_COMPARED = 12
_ALIKE = (
    "lr",
    "weight_decay",
    "schedule",
    "precision",
    "impl",
    "recompute",
    "compile",
    "steps",
    "batch_size",
)


class _Asked(NamedTuple):
    """A run, as the same command would ask for it now."""

    run: Run
    machine: Machine
    # As it was asked for then.
    before: Run
    before_machine: Machine


def explain_sweep(folder: Path) -> str:
    """Return how the runs of a sweep stand to the store: answered, or what is other than in the nearest one.

    A run is looked for as its command would ask for it today, with the code and the torch that are here.

    Args:
        folder: `results/<sweep>`.

    Raises:
        StoreError: There is no readable manifest.
    """
    manifest = read_record(folder / "manifest.json", Manifest)
    asked, troubles = [], []
    for name in manifest.studies:
        try:
            record = read_study(folder, name)
        except StoreError as error:
            troubles.append(f"! {error}")
            continue
        asked += [_ask_now(run, record.machine) for run in record.runs]
    store = Store(folder.resolve().parent, is_lenient=True)
    siblings = {run_id(one.before) for one in asked} | {run_id(one.run) for one in asked}
    runs = _Stored(store)
    counts = Counter(
        (one.run.optimizer.name, _explain(runs, one, siblings, manifest.started_at)) for one in asked
    )
    lines = [f"{shorten(manifest.name, 60)}: {len(asked)} runs, as the same command would ask for them now"]
    for (name, why), num in counts.items():
        lines.append(f"  {num} of {shorten(name, 24)}: {why}")
    if unreadable := store.describe_unreadable():
        troubles.append(f"! {unreadable}")
    return "\n".join([*lines, *(shorten(line, 200) for line in troubles)]) + "\n"


def explain_run(root: Path, word: str) -> str:
    """Return how one stored run stands: answered still, or what is other now; and the nearest other one.

    Args:
        root: `results/`.
        word: The beginning of its id.

    Raises:
        StoreError: No run, or several, have an id that begins so.
    """
    stored = _Stored(Store(root, is_lenient=True))
    rows = stored.frame[stored.frame["id"].str.startswith(word).fillna(False)]
    ids = sorted(set(rows["id"]))
    if len(ids) != 1:
        raise StoreError(f"{word}: {len(ids)} stored runs have an id that begins so, in {root}")
    lines = [f"{ids[0]}:"]
    for path in rows["path"]:
        result = read_record(root / path, Result)
        one = _ask_now(result.run, result.machine)
        lines.append(f"  {environment(result.machine)}: {_explain(stored, one, {ids[0]}, '')}")
        if (other := stored.find_nearest(one, {ids[0], run_id(one.run)})) is not None:
            lines.append(f"  nearest other, {other[0].id[:8]}: {_join(other[1])}")
    return "\n".join(lines) + "\n"


def _ask_now(run: Run, machine: Machine) -> _Asked:
    # Code of a script that is not running can't be found.
    targets = [target for target in run.sources if not target.startswith("__main__")]
    sources = run.sources | digest_sources(targets)
    try:
        torch = importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        # A report can be read without: then by what it ran with.
        torch = machine.torch
    now = msgspec.structs.replace(machine, torch=torch)
    return _Asked(msgspec.structs.replace(run, sources=sources), now, run, machine)


def _explain(stored: _Stored, one: _Asked, siblings: set[str], since: str) -> str:
    answer = stored.store.find(run_id(one.run), one.machine)
    if answer is not None and (not since or answer.started_at < since):
        return "answered by the store"
    said = "answered by the store" if answer is not None else "no answer"
    before = stored.store.find(run_id(one.before), one.before_machine) if answer is None else None
    # Those it ran beside are no reason why it ran.
    nearest = stored.find_nearest(one, siblings) if before is None else (before, compare(before, *one[:2]))
    if answer is not None:
        return f"{said}, trained by this sweep" + (f"; stored before: {_join(nearest[1])}" if nearest else "")
    return f"{said}; stored: {_join(nearest[1])}" if nearest else f"{said}, and none that is nearly the same"


class _Stored:
    """What is stored, to find the nearest to a run."""

    def __init__(self, store: Store) -> None:
        self.store = store
        frame = index.load(store.root)
        self.frame: pd.DataFrame = frame[frame["error"].isna()]

    def find_nearest(self, one: _Asked, without: set[str]) -> tuple[Result, tuple[str, ...]] | None:
        """Return the result that differs in the fewest fields, and these; None: all differ in too many."""
        found = [
            (result, compare(result, one.run, one.machine)) for result in self._list_alike(one.run, without)
        ]
        near = [pair for pair in found if 0 < len(pair[1]) <= MAX_FIELDS]
        return min(near, key=lambda pair: len(pair[1]), default=None)

    def _list_alike(self, run: Run, without: set[str]) -> Iterator[Result]:
        frame = self.frame
        wanted = {"data": run.data.name, "model": run.model.name, "optimizer": run.optimizer.name}
        for column, value in wanted.items():
            frame = frame[frame[column] == value]
        values: dict[str, Any] = {
            "lr": run.optimizer.lr, "weight_decay": run.optimizer.weight_decay, "impl": run.optimizer.impl,
            "schedule": run.schedule.name, "precision": run.precision.name, "recompute": run.recompute.name,
            "compile": run.compile.name, "steps": run.budget.steps, "batch_size": run.budget.batch_size,
        }  # fmt: skip
        likeness = 2 * (frame["seed"] == run.seed).astype(int)
        for column in _ALIKE:
            likeness = likeness + (frame[column] == values[column]).fillna(False).astype(int)
        frame = frame[~frame["id"].isin(list(without))]
        for path in frame.loc[likeness[frame.index].nlargest(_NUM_COMPARED).index, "path"]:
            try:
                yield read_record(self.store.root / path, Result)
            except StoreError:
                continue


def _join(lines: tuple[str, ...]) -> str:
    return "; ".join(lines)
