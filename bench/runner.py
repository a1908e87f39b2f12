"""Many studies on this machine: refuse what can't start, answer from the store, run the rest."""

from __future__ import annotations

import datetime
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from bench.claims import Claims
from bench.ending import Standing
from bench.estimate import Timings
from bench.execution import Means, Underway, check, execute, find_device
from bench.identity import run_id
from bench.kinds import SCHEMA
from bench.messages import Found
from bench.outbox import Room
from bench.plan import list_stages, outline
from bench.progress import Say, Show
from bench.resolve import is_held_here
from bench.result import Manifest, Result, StudyRecord
from bench.rounds import count_seeds, decide_widening
from bench.slot import list_slots
from bench.spec import Study
from bench.stopping import Stopped, watch
from bench.store import Store
from bench.study import Batch, Preview, SeedsVote, WidenVote
from bench.workers import Workers

Draw = Callable[[Path, Study], None]


@dataclass(frozen=True)
class Sweep:
    """What one command asks for."""

    # They share a results folder.
    studies: tuple[Study, ...]
    # Of the sweep's folder.
    name: str
    # As typed, for the report.
    command: str


@dataclass(frozen=True)
class Ended:
    """How a sweep ended."""

    folder: Path
    # Of all runs that were needed, search runs included.
    statuses: tuple[str, ...]
    is_interrupted: bool
    # What asked it to end early, if something did.
    signal: int | None = None


def run(sweep: Sweep, say: Say, draw: Draw, show: Show | None = None, *, is_verbose: bool = False) -> Ended:
    """Run the studies of one sweep and write its folder.

    Args:
        sweep: What is asked.
        say: Shows one line of progress.
        draw: Makes a report of a sweep's folder; called for a first answer.
        show: Replaces the lines at a terminal's bottom; None: there is no terminal.
        is_verbose: Whether each trial of a search has a line, too.

    Returns:
        Where the sweep's folder is, and how its runs ended.

    Raises:
        SpecError, BuildError, DataError: Something can't start; nothing has run.
        StoreError: The store can't be read or written.
    """
    started_at, start = now(), time.monotonic()
    store = Store(Path(sweep.studies[0].place.results), is_lenient=True)
    place, device = sweep.studies[0].place, find_device(sweep.studies)
    underway: list[Underway] = []

    def write(*, is_interrupted: bool) -> Path:
        records = [_record_of(one) for one in underway]
        manifest = Manifest(
            schema=SCHEMA,
            name=sweep.name,
            command=sweep.command,
            started_at=started_at,
            ended_at=now(),
            wall_s=time.monotonic() - start,
            is_interrupted=is_interrupted,
            studies=tuple(f"{number}.json" for number in range(len(records))),
            machine=underway[0].machine,
        )
        folder = Room(store.root, stop, say).keep(
            lambda: store.write_sweep(manifest, dict(zip(manifest.studies, records, strict=True)))
        )
        _point_latest(folder)
        return folder

    def preview() -> None:
        # Where the store answered everything, so it did for whoever drew this before.
        is_new = any(set(one.outcomes) - one.cached for one in underway)
        if is_new and time.monotonic() - start >= place.first_answer_s:
            folder = write(is_interrupted=False)
            draw(folder, sweep.studies[0])
            say(f"first answer: {folder / 'report.html'}; the best settings now run on more seeds")

    is_interrupted = False
    # What is asked again, to be answered by the store, is said once.
    said: set[str] = set()
    timings: Timings | None = None
    slots = _list_slots(sweep.studies, device)
    with (
        watch() as stop,
        Workers(slots, timeout_s=place.timeout_s, should_stop=stop, say=say) as workers,
        Claims(store.root) as claims,
    ):
        means, standing = Means(workers, claims, stop, say, show, is_verbose), Standing()
        underway += [Underway(spec, store, device, workers) for spec in sweep.studies]
        try:
            while waiting := [one for one in underway if one.request is not None]:
                stop.check()
                if batches := [one for one in waiting if isinstance(one.request, Batch)]:
                    check(batches, workers)
                    if timings is None and any(one.pending() for one in batches):
                        timings = Timings(store, underway[0].machine)
                    lines = list_stages(batches)
                    if not said:
                        lines = [outline(batches, timings, workers.num), *lines]
                    if unreadable := store.describe_unreadable():
                        lines = [unreadable, *lines]
                    for line in lines:
                        if line not in said:
                            say(line)
                            said.add(line)
                    if sweep.studies[0].do == "plan":
                        return Ended(store.sweep_folder(sweep.name), (), False)
                    execute(batches, means, timings, standing)
                    for one in batches:
                        one.advance(one.outcomes)
                elif previews := [one for one in waiting if isinstance(one.request, Preview)]:
                    preview()
                    for one in previews:
                        one.advance(None)
                else:
                    _vote(waiting, say)
        except Stopped:
            is_interrupted = True
            say("interrupted: what is finished is kept; the same command continues")
            for one in underway:
                one.interrupt()
        try:
            folder = write(is_interrupted=is_interrupted)
        except Stopped:
            is_interrupted, folder = True, store.sweep_folder(sweep.name)
            say(f"{folder}: not up to date, as there is no room on the disk")
    ends = [outcome for one in underway for outcome in one.outcomes.values() if isinstance(outcome, Result)]
    return Ended(folder, tuple(end.status for end in ends), is_interrupted, stop.signal)


def _list_slots(studies: Sequence[Study], device: Found) -> list[str | None]:
    # What a running program holds is not in another process.
    if any(is_held_here(spec) for spec in studies):
        return [None]
    threads = max(spec.threads for spec in studies)
    return list_slots(studies[0].place, device.kind, threads, device.num)


def _vote(waiting: Sequence[Underway], say: Say) -> None:
    """Answer the votes of studies that wait for their arena: on ranges first, on seeds when none is left."""
    widen = [(one, one.request) for one in waiting if isinstance(one.request, WidenVote)]
    if widen:
        for (one, _), answer in zip(
            widen, decide_widening([(one.spec, vote) for one, vote in widen], say), strict=True
        ):
            one.advance(answer)
        return
    seeds = [(one, one.request) for one in waiting if isinstance(one.request, SeedsVote)]
    for (one, _), num in zip(seeds, count_seeds([(one.spec, vote) for one, vote in seeds], say), strict=True):
        one.advance(num)


def _record_of(one: Underway) -> StudyRecord:
    record = one.record or (one.request.record if isinstance(one.request, Preview) else None)
    assert record is not None, one.request
    return msgspec.structs.replace(record, num_cached=sum(run_id(run) in one.cached for run in record.runs))


def now() -> str:
    """Return the time as records hold it: UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _point_latest(folder: Path) -> None:
    link = folder.parent / "latest"
    temporary = folder.parent / f".latest.{os.getpid()}"
    try:
        temporary.symlink_to(folder.name)
        os.replace(temporary, link)
    except OSError:
        # A file system without links only lacks the shortcut.
        temporary.unlink(missing_ok=True)
