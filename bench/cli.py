"""The door: Hydra composes, every value is read once and strictly, and studies go to the runner."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bench import runner, strict
from bench.errors import BenchError, SpecError, nearest
from bench.spec import Study

# What a group's YAML may say beside the arguments of its `_target_`.
RESERVED = {
    "data": {"name", "version", "licence", "sha256", "item"},
    "model": {"name"},
    "optimizer": {"name", "lr", "weight_decay", "weight_decay_kind", "impl", "search"},
}
# These choose where results go and what is shown of them: the same sweep, whatever they say.
_UNNAMED = ("hydra.", "hydra/", "place.", "report.", "report=", "retry=", "do=")

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
    try:
        _compose_all()
        if _errors:
            sys.exit(_complain(_errors))
        if _studies:
            sys.exit(_run(_studies))
    except BenchError as error:
        sys.exit(_complain([str(error)]))
    except (HydraException, OmegaConfBaseException) as error:
        sys.exit(_complain([_explain(error)]))


def config_folder() -> Path:
    """Return the folder of our YAML: inside the package in a wheel, beside it in a checkout."""
    package = Path(__file__).resolve().parent
    for folder in (package / "conf", package.parent / "conf"):
        if (folder / "config.yaml").is_file():
            return folder
    raise SpecError(f"conf: no config.yaml in {package} or beside it; the installation is incomplete")


@hydra.main(version_base="1.3", config_path=str(config_folder()), config_name="config")
def _compose_all(config: DictConfig) -> None:
    """Hydra's job: under the basic launcher only collect; under any other, run the one study in place."""
    try:
        study = read_study(config, HydraConfig.get().runtime.choices["workload"])
    except (BenchError, OmegaConfBaseException) as error:
        # Hydra would print a line of its own about an exception, and go on with the next job.
        _errors.append(_explain(error))
        return
    if "BasicLauncher" in HydraConfig.get().launcher._target_:
        _studies.append(study)
    elif _run([study], list(HydraConfig.get().overrides.task)) == 1:
        raise RuntimeError(f"nothing was produced for {' '.join(HydraConfig.get().overrides.task)}")


def read_study(config: DictConfig, workload: str) -> Study:
    """Convert a composed configuration into a frozen record.

    Args:
        config: As Hydra composed it.
        workload: The chosen member of the group `workload`.

    Raises:
        SpecError: A value is missing, unknown, of the wrong type, or out of range.
    """
    plain = _plain(config)
    for group in RESERVED:
        plain[group] = _nest(plain[group], group)
    plain["is_workload_modified"] = _is_modified(plain, workload)
    try:
        return strict.read(plain, Study, "")
    except SpecError as error:
        # Records say `target` for what a YAML calls `_target_`.
        raise SpecError(re.sub(r"^(\w+)\.target:", r"\1._target_:", str(error))) from None


def _plain(config: DictConfig) -> dict[str, Any]:
    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    missing = sorted(OmegaConf.missing_keys(config))
    if missing:
        raise SpecError(f"{missing[0]}: missing, and there is no default: give {missing[0]}=...")
    return plain


def _nest(flat: Any, group: str) -> Any:
    """Move the arguments that stand flat beside `_target_` into `args`."""
    if not isinstance(flat, dict):
        raise SpecError(f"{group}: wants a group member or keys and values, got {flat!r}")
    reserved = RESERVED[group]
    nested = {key: value for key, value in flat.items() if key in reserved}
    nested["args"] = {key: value for key, value in flat.items() if key not in reserved and key != "_target_"}
    if "_target_" in flat:
        nested["target"] = flat["_target_"]
    return nested


def _is_modified(plain: dict[str, Any], workload: str) -> bool:
    own = _plain(hydra.compose("config", overrides=[f"workload={workload}"]))
    parts = {group: _nest(own[group], group) if group in RESERVED else own[group] for group in own}
    return any(plain[group] != parts[group] for group in ("data", "model", "budget", "workload"))


def _run(studies: list[Study], overrides: list[str] | None = None) -> int:
    if overrides is None:
        overrides = [word for word in sys.argv[1:] if "=" in word and not word.startswith("--")]
    command = shlex.join(["python", "-m", "bench", *sys.argv[1:]])
    ended = runner.run(studies, sweep_name(overrides), command, _say)
    if studies[0].do == "plan":
        return 0
    # Drawing needs matplotlib and pandas: imported when there is something to draw.
    from bench.report.build import build, read_block

    settings = studies[0].report
    build(ended.folder, settings.sections, settings.reference)
    print(read_block(ended.folder), end="")
    return _exit_code(ended)


def sweep_name(overrides: list[str]) -> str:
    """Return the folder name of a sweep: readable, and the same for the same overrides in any order.

    Args:
        overrides: As typed, such as `optimizer=adam,adamw`.

    Returns:
        A slug of the values and six hexadecimal digits over the sorted overrides.
    """
    named = [override for override in overrides if not override.lstrip("+~").startswith(_UNNAMED)]
    words = []
    for override in named:
        key, _, value = override.lstrip("+~").partition("=")
        words.append(value if "." not in key and not value[:1].isdigit() else key.rpartition(".")[2] + value)
    slug = re.sub(r"[^a-z0-9_]+", "-", "-".join(words).lower()).strip("-")[:48].rstrip("-")
    return f"{slug or 'default'}-{hashlib.sha256(chr(10).join(sorted(named)).encode()).hexdigest()[:6]}"


def _exit_code(ended: runner.Ended) -> int:
    if ended.is_interrupted:
        return 130
    if not {"finished", "diverged"} & set(ended.statuses):
        return 1
    return 3 if {"failed", "oom", "timeout", "killed"} & set(ended.statuses) else 0


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
        with hydra.initialize_config_dir(str(config_folder()), version_base="1.3"):
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
