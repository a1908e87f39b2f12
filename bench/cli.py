"""The door: Hydra composes, every value is read once and strictly, and studies go to the runner."""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import signal
import sys
import textwrap
from collections.abc import Collection
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from bench import children, launch, runner
from bench.command import Volume, expand, list_overrides, name_sweep, take_volume
from bench.configuration import VERSION, config_folder, read_studies
from bench.errors import BenchError, SpecError, StoreError
from bench.lists import Lists, apply_lists, composed_once, take_lists
from bench.refusal import WRONG, check_folders, complain, explain
from bench.screen import Screen
from bench.spec import Study

# For batch systems: the same command goes on where this one was asked to stop.
REQUEUE = 75

_studies: list[Study] = []
_errors: list[str] = []
# What differs among the studies of each job that Hydra composes.
_lists: Lists = []


def main() -> None:
    """Compose what the command line asks for, run it, report it, and exit with the code that says so.

    Exit codes: 0 all well (a diverged run is a result), 1 nothing was produced or can be stored, 2 the
    request was wrong, 3 some runs failed, 75 asked to stop by SIGTERM or SIGUSR2 (the same command goes on),
    130 by Ctrl-C.
    """
    # Hydra then raises its own exceptions instead of printing a page about them.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    # `python -m bench` sees modules of the working folder; so does the console script.
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        typed, volume = take_volume(sys.argv[1:])
        sys.argv[1:] = expand(typed)
        if {"--help", "-h"} & set(typed):
            sys.exit(_help())
        words = sys.argv[1:]
        check_folders(words)
        is_launched = launch.names_launcher(words)
        if is_launched:
            sys.argv[1:] = launch.without_launcher(words)
        elif not ({"do=check", "do=predict", "do=trace", "do=replay"} & set(typed) or _is_answered(typed)):
            # Imports torch while Hydra composes: a run is then forked from it at once.
            children.start()
        sys.argv[1:], _lists[:] = take_lists(sys.argv[1:])
        _collect()
        if _errors:
            sys.exit(complain(_errors))
        if _studies:
            sys.exit(_run(_studies, typed, words if is_launched else None, volume))
    except KeyboardInterrupt:
        # Nothing has begun, or all is done but the report.
        sys.exit(130)
    except StoreError as error:
        # No fault of the request: the same one may go well once the disk does.
        complain([str(error)])
        sys.exit(1)
    except BenchError as error:
        sys.exit(complain([str(error)]))
    except (HydraException, OmegaConfBaseException) as error:
        sys.exit(complain([explain(error)]))


def _is_answered(typed: list[str]) -> bool:
    """Return whether the same command has run to its end here: the store answers, nothing is forked."""
    places = [word.partition("=")[2] for word in typed if word.startswith("place.results=")]
    manifest = Path(places[-1] if places else "results") / name_sweep(list_overrides(typed)) / "manifest.json"
    with contextlib.suppress(OSError):
        return b'"is_interrupted": false' in manifest.read_bytes()
    return False


def _help() -> int:
    """Print Hydra's help, its long lists of options wrapped."""
    page = io.StringIO()
    with contextlib.redirect_stdout(page), contextlib.suppress(SystemExit):
        _compose_all()
    for line in page.getvalue().splitlines():
        print(textwrap.fill(line, 98, subsequent_indent="    ") if len(line) > 98 else line)
    return 0


@hydra.main(**VERSION, config_path=str(config_folder()), config_name="config")
def _compose_all(config: DictConfig) -> None:
    """Hydra's job: under the basic launcher only collect; under any other, work on the planned sweep."""
    if "BasicLauncher" not in HydraConfig.get().launcher._target_:
        launch.work(Path(HydraConfig.get().sweep.dir))
        return
    workload = HydraConfig.get().runtime.choices.get("workload")
    try:
        for varied in apply_lists(config, _lists):
            _studies.extend(read_studies(varied, workload))
    except (BenchError, OmegaConfBaseException) as error:
        # Hydra would print a line of its own about an exception, and go on with the next job.
        _errors.append(explain(error))


def _collect() -> None:
    """Have Hydra compose the studies; whatever is wrong with the request is a line."""
    page = io.StringIO()
    try:
        with contextlib.redirect_stderr(page), composed_once():
            _compose_all()
    except SystemExit as end:
        # Of an unknown flag argparse tells with a page about the known ones.
        if end.code == 2 and (found := page.getvalue().rpartition("error: ")[2].strip()):
            raise SpecError(found) from None
        raise
    except WRONG as error:
        raise SpecError(explain(error)) from None
    finally:
        if not page.getvalue().startswith("usage: "):
            sys.stderr.write(page.getvalue())


def _launch(words: list[str]) -> None:
    sys.argv[1:] = words
    _compose_all()


def _run(studies: list[Study], typed: list[str], launched: list[str] | None, volume: Volume) -> int:
    # What is slow to decode is kept beside the results, wherever those go.
    os.environ.setdefault("BENCH_CACHE", str(Path(studies[0].place.results) / ".cache"))
    if studies[0].do in ("check", "trace", "replay"):
        return _look(studies)
    if studies[0].do == "predict":
        return _predict(studies, typed, volume)
    sweep = runner.Sweep(
        studies=tuple(studies),
        name=name_sweep(list_overrides(typed)),
        command=shlex.join(["python", "-m", "bench", *typed]),
    )
    if studies[0].do == "plan":
        # The plan is what was asked for.
        runner.run(sweep, print, _draw)
        return 0
    screen = Screen(sys.stderr, is_quiet=volume == "quiet")
    if launched is None:
        show = screen.show if screen.is_live else None
        ended = runner.run(sweep, screen.say, _draw, show, is_verbose=volume == "verbose")
    else:
        ended = launch.launch(sweep, launched, _launch, screen.say, volume)
    try:
        _draw(ended.folder, studies[0])
    except StoreError as error:
        if not ended.is_interrupted:
            raise
        # Asked to stop on a full disk: how it ended is said by the exit code alone.
        screen.say(f"no report: {error}")
        return _exit_code(ended)
    # Imported here: drawing needs matplotlib and pandas.
    from bench.report.build import read_block

    print(read_block(ended.folder), end="")
    return _exit_code(ended)


def _look(studies: list[Study]) -> int:
    """Print what the data holds, what a step does to each layer, or where a stored run went wrong."""
    # Imported here: they need torch, which an answer from the store does without.
    from bench import check, replay, trace

    root = Path(studies[0].place.results)
    look = {"check": check.describe_data, "trace": trace.trace}.get(studies[0].do)
    try:
        for line in look(studies) if look else replay.replay(root, studies[0].run):
            print(line)
    except replay.Missing as error:
        complain([str(error)])
        return 1
    return 0


def _predict(studies: list[Study], typed: list[str], volume: Volume) -> int:
    """Say how much memory each cell needs; write it beside the other sweeps."""
    from bench.predict import find_all
    from bench.report.prediction import write_predictions

    say = Screen(sys.stderr, is_quiet=volume == "quiet").say
    found = find_all(studies, shlex.join(["python", "-m", "bench", *typed]), say)
    folder = Path(studies[0].place.results) / name_sweep(list_overrides(typed))
    print(write_predictions(folder, found), end="")
    return _judge([row.status for row in found.rows])


def _draw(folder: Path, study: Study) -> None:
    from bench.report.build import build

    build(folder, study.report.sections, study.report.reference)


def _exit_code(ended: runner.Ended) -> int:
    if ended.is_interrupted:
        return 130 if ended.signal in (None, signal.SIGINT) else REQUEUE
    return _judge(ended.statuses)


def _judge(statuses: Collection[str]) -> int:
    if not {"finished", "diverged"} & set(statuses):
        return 1
    return 3 if {"failed", "oom", "timeout", "killed"} & set(statuses) else 0
