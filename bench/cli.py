"""The door: Hydra composes, every value is read once and strictly, and studies go to the runner."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import sys
import textwrap
from collections.abc import Collection
from pathlib import Path

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bench import runner
from bench.command import expand, list_overrides, name_sweep
from bench.configuration import RESERVED, VERSION, config_folder, read_studies
from bench.errors import BenchError, nearest
from bench.progress import Screen
from bench.spec import Study

_studies: list[Study] = []
_errors: list[str] = []


def main() -> None:
    """Compose what the command line asks for, run it, report it, and exit with the code that says so.

    Exit codes: 0 all well (a diverged run is a result), 1 nothing was produced, 2 the request was wrong,
    3 some runs failed, 130 interrupted.
    """
    # Hydra then raises its own exceptions instead of printing a page about them.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    # `python -m bench` sees modules of the working folder; so does the console script.
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.insert(0, os.getcwd())
    typed = sys.argv[1:]
    try:
        sys.argv[1:] = expand(typed)
        if {"--help", "-h"} & set(typed):
            sys.exit(_help())
        _compose_all()
        if _errors:
            sys.exit(_complain(_errors))
        if _studies:
            sys.exit(_run(_studies, typed))
    except BenchError as error:
        sys.exit(_complain([str(error)]))
    except (HydraException, OmegaConfBaseException) as error:
        sys.exit(_complain([_explain(error)]))


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
    """Hydra's job: under the basic launcher only collect; under any other, run the one study in place."""
    try:
        studies = read_studies(config, HydraConfig.get().runtime.choices["workload"])
    except (BenchError, OmegaConfBaseException) as error:
        # Hydra would print a line of its own about an exception, and go on with the next job.
        _errors.append(_explain(error))
        return
    if "BasicLauncher" in HydraConfig.get().launcher._target_:
        _studies.extend(studies)
    elif _run(studies, list(HydraConfig.get().overrides.task), is_alone=True) == 1:
        raise RuntimeError(f"nothing was produced for {' '.join(HydraConfig.get().overrides.task)}")


def _run(studies: list[Study], typed: list[str], *, is_alone: bool = False) -> int:
    # What is slow to decode is kept beside the results, wherever those go.
    os.environ.setdefault("BENCH_CACHE", str(Path(studies[0].place.results) / ".cache"))
    if studies[0].do == "check":
        # Imported here: it needs torch, which an answer from the store does without.
        from bench.check import describe_data

        for line in describe_data(studies):
            print(line)
        return 0
    if studies[0].do == "predict":
        return _predict(studies, typed)
    sweep = runner.Sweep(
        studies=tuple(studies),
        name=name_sweep(list_overrides(typed)),
        command=shlex.join(["python", "-m", "bench", *typed]),
        is_alone=is_alone,
    )
    if studies[0].do == "plan":
        # The plan is what was asked for.
        runner.run(sweep, print, _draw)
        return 0
    screen = Screen(sys.stderr)
    ended = runner.run(sweep, screen.say, _draw, screen.show if screen.is_live else None)
    _draw(ended.folder, studies[0])
    # Imported here: drawing needs matplotlib and pandas.
    from bench.report.build import read_block

    print(read_block(ended.folder), end="")
    return _exit_code(ended)


def _predict(studies: list[Study], typed: list[str]) -> int:
    """Say how much memory each cell needs; write it beside the other sweeps."""
    from bench.predict import find_all
    from bench.report.prediction import write_predictions

    found = find_all(studies, shlex.join(["python", "-m", "bench", *typed]), _say)
    folder = Path(studies[0].place.results) / name_sweep(list_overrides(typed))
    print(write_predictions(folder, found), end="")
    return _judge([row.status for row in found.rows])


def _draw(folder: Path, study: Study) -> None:
    from bench.report.build import build

    build(folder, study.report.sections, study.report.reference)


def _exit_code(ended: runner.Ended) -> int:
    if ended.is_interrupted:
        return 130
    return _judge(ended.statuses)


def _judge(statuses: Collection[str]) -> int:
    if not {"finished", "diverged"} & set(statuses):
        return 1
    return 3 if {"failed", "oom", "timeout", "killed"} & set(statuses) else 0


def _explain(error: Exception) -> str:
    """Return what went wrong while composing, in one line, with the nearest valid name."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, choice = error.missing_cfg_file.rpartition("/")
        options = list(error.options or [])
        known = f"; known: {', '.join(options)}" if options else ""
        return f"{group}={choice}: no such choice{nearest(choice, options) or known}"
    text = str(error).strip()
    if isinstance(error, OverrideParseException):
        return f"{error.override}: can't be read as an override: {text.splitlines()[0]}"
    if match := re.search(r"Could not override '([^'@]+)", text):
        return _explain_key(match[1])
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def _explain_key(key: str) -> str:
    """Name the nearest key of the configuration that the unknown one was meant to change."""
    parent, _, name = key.rpartition(".")
    choices = [word for word in sys.argv[1:] if re.fullmatch(r"[\w/]+=[\w.]+", word)]
    try:
        GlobalHydra.instance().clear()
        with hydra.initialize_config_dir(str(config_folder()), **VERSION):
            config = hydra.compose("config", overrides=[word for word in choices if not word.startswith(key)])
        node = OmegaConf.select(config, parent) if parent else config
        known = [str(item) for item in node] if isinstance(node, DictConfig) else []
    except (HydraException, OmegaConfBaseException):
        known = []
    hint = nearest(name, known)
    if hint and parent:
        hint = hint.replace("'", f"'{parent}.", 1)
    plus = f"; +{key}=... adds one" if parent in RESERVED and not hint else ""
    return f"{key}: no such key{hint or plus}"


def _complain(lines: list[str]) -> int:
    # Jobs of one sweep mostly share their mistake.
    for line in dict.fromkeys(lines):
        print(f"bench: {' '.join(str(line).split())}", file=sys.stderr)
    return 2


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
