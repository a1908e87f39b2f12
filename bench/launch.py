"""A sweep under one of Hydra's launchers: its jobs work through all of it together, from one frozen plan."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from bench import runner
from bench.command import Volume
from bench.errors import SpecError, StoreError
from bench.identity import run_id
from bench.kinds import SCHEMA
from bench.progress import Say
from bench.publish import write_atomic
from bench.record import encode, read_record
from bench.result import Manifest, Plan, StudyRecord
from bench.screen import Screen
from bench.spec import Study
from bench.store import Store

# Where Hydra keeps what it writes itself, under the results.
_HYDRA = ".hydra"
_MULTIRUN = {"-m", "--multirun"}


def names_launcher(words: Sequence[str]) -> bool:
    """Return whether a command line asks for jobs that a launcher starts."""
    chosen = [word.partition("=")[2] for word in words if word.startswith("hydra/launcher=")]
    return bool(_MULTIRUN & set(words)) and bool(chosen) and chosen[-1] != "basic"


def without_launcher(words: Sequence[str]) -> list[str]:
    """Return the words without what concerns the launcher: composed so, the studies are only collected."""
    return [word for word in words if not word.lstrip("+~").startswith(("hydra/launcher", "hydra.launcher"))]


def launch(
    sweep: runner.Sweep,
    words: Sequence[str],
    run_hydra: Callable[[list[str]], None],
    say: Say,
    volume: Volume = "plain",
) -> runner.Ended:
    """Freeze a sweep, have its jobs launched, and tell how they ended.

    Args:
        sweep: What is asked; nothing of it is composed again.
        words: The command line in Hydra's grammar, with the launcher.
        run_hydra: Runs Hydra on such words, and returns when all jobs have ended.
        say: Shows a line.
        volume: How much the jobs say.

    Raises:
        StoreError: No job wrote anything.
    """
    root = Path(sweep.studies[0].place.results).absolute()
    folder = root / sweep.name
    store, started_at, start = Store(root), runner.now(), time.monotonic()
    plan = Plan(schema=SCHEMA, name=sweep.name, command=sweep.command, studies=sweep.studies, volume=volume)
    write_atomic(folder / "plan.json", encode(plan))
    before = _read_manifest(folder)
    try:
        run_hydra([*words, f"hydra.sweep.dir={root / _HYDRA / sweep.name}"])
    except (HydraException, OmegaConfBaseException):
        # The launcher was asked for wrongly.
        raise
    except Exception as error:
        # Each launcher has its own exception for a job that died; what other jobs did is on the disk.
        line = (str(error).strip().splitlines() or ["no message"])[0]
        say(f"launcher: {type(error).__name__}: {line[:200]}")
    manifest = _read_manifest(folder)
    if manifest is None or manifest == before:
        raise StoreError(
            f"{folder}: no job wrote anything; the launcher's own logs lie under {root / _HYDRA}"
        )
    return runner.Ended(folder, _sum_up(store, manifest, started_at, start), manifest.is_interrupted)


def work(sweep_dir: Path) -> None:
    """Work on a planned sweep, in a job: take what no other job has, until nothing is left.

    Args:
        sweep_dir: Hydra's folder of the sweep, as `launch` named it.

    Raises:
        SpecError: The job was not launched by `launch`.
    """
    root, name = sweep_dir.parent.parent, sweep_dir.name
    path = root / name / "plan.json"
    if sweep_dir.parent.name != _HYDRA or not path.exists():
        raise SpecError("a launcher has to be named on the command line: hydra/launcher=NAME")
    plan = read_record(path, Plan)
    studies = tuple(_place(study, root) for study in plan.studies)
    screen = Screen(sys.stderr, is_quiet=plan.volume == "quiet")
    ended = runner.run(
        runner.Sweep(studies, plan.name, plan.command),
        screen.say,
        lambda folder, study: None,
        is_verbose=plan.volume == "verbose",
    )
    if ended.signal is not None:
        # All is saved; now the launcher hears it too: submitit has Slurm put the job back into the queue.
        os.kill(os.getpid(), ended.signal)


def _place(study: Study, root: Path) -> Study:
    """Return a study as a job runs it: how many runs train side by side is what the launcher was asked."""
    workers = 1 if study.place.workers == "auto" else study.place.workers
    place = msgspec.structs.replace(study.place, results=str(root), workers=workers)
    return msgspec.structs.replace(study, place=place)


def _read_manifest(folder: Path) -> Manifest | None:
    # One that is damaged is of an earlier command: it is written anew.
    with contextlib.suppress(StoreError):
        return read_record(folder / "manifest.json", Manifest)
    return None


def _sum_up(store: Store, manifest: Manifest, started_at: str, start: float) -> tuple[str, ...]:
    """Say of the whole sweep what a job could only say of itself; return how the evaluation runs ended."""
    folder = store.sweep_folder(manifest.name)
    studies, statuses = {}, []
    for name in manifest.studies:
        record = read_record(folder / "studies" / name, StudyRecord)
        ends = [
            store.find(run_id(run), record.machine) or record.unsettled[run_id(run)] for run in record.runs
        ]
        statuses += [end.status for end in ends]
        num_cached = sum(end.started_at < started_at for end in ends)
        studies[name] = msgspec.structs.replace(record, num_cached=num_cached)
    wall_s = time.monotonic() - start
    store.write_sweep(msgspec.structs.replace(manifest, started_at=started_at, wall_s=wall_s), studies)
    return tuple(statuses)
