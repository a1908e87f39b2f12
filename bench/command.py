"""The command line before Hydra reads it: our few short forms written out, and the sweep named after it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep
from hydra.errors import HydraException

from bench.configuration import config_folder
from bench.errors import SpecError, nearest

# These choose where results go and what is shown of them: the same sweep, whatever they say.
_UNNAMED = ("hydra.", "hydra/", "place.", "report.", "report=", "retry=", "do=plan", "do=compare")
# What do=noise means beside: the workload's own lr on many seeds, and a report about that. Each can be said.
_NOISE = ("search=none", "report=noise", "meter=none", "seeds=10")

# Quiet: the closing block only. Verbose: a line for each trial of a search, too.
Volume = Literal["quiet", "plain", "verbose"]
_VOLUMES: dict[str, Volume] = {"-q": "quiet", "--quiet": "quiet", "-v": "verbose", "--verbose": "verbose"}
# Hydra would answer these with a page; `--version` is its own.
_MEANT = re.compile(r"-[qv]+(=.*)?|--(q|verb|silent)\w*(=.*)?")


def expand(words: Sequence[str]) -> list[str]:
    """Return command-line words with our short forms written out in Hydra's own grammar.

    `seeds=10` becomes `seeds.num=10`; `search.space.model.dropout=[0,0.1]` gets the `++` that adds a key; and
    an interval, `optimizer.lr=tag(log,interval(1e-5,1e-1))`, which Hydra's own sweeper refuses, becomes a
    dimension of the search. A rule for parameters, `optimizer.groups.vectors.weight_decay=0`, is added; its
    pattern may be one of names, `optimizer.groups.layers.0.*.lr_scale=0.1`. `suite=quick` becomes the
    workloads that its YAML lists, as a multirun, and `do=noise` the settings that measuring noise takes; what
    is said beside them stays as it is said. `model=gpt model.preset=gpt2-124m` becomes `model=gpt2_124m`.
    Under `do=predict` a batch size that is typed also holds where data is made up.

    Args:
        words: As typed, flags included.

    Returns:
        The words, flags and everything else untouched.

    Raises:
        SpecError: There is no such suite or preset.
    """
    words = _expand_preset(_expand_suite(words))
    if "do=predict" in words and any(word.startswith("budget.batch_size=") for word in words):
        words = [*_unsaid(("predict.batch_size=${budget.batch_size}",), words), *words]
    if "do=noise" in words:
        words = [*_unsaid(_NOISE, words), *words]
    # Hydra's parser loses the overrides behind a flag that stands among them.
    flags = [word for word in words if word in ("-m", "--multirun")]
    words = [*flags, *(word for word in words if word not in flags)]
    return [_expand(word) if "=" in word and not word.startswith("-") else word for word in words]


def take_volume(words: Sequence[str]) -> tuple[list[str], Volume]:
    """Return the words without `-q` or `-v`, which Hydra does not know, and how much is to be said.

    Raises:
        SpecError: Both are there, or something that is meant for one of them.
    """
    for word in words:
        if word not in _VOLUMES and _MEANT.fullmatch(word):
            raise SpecError(f"{word}: no such flag; known: {', '.join(_VOLUMES)}")
    found = {_VOLUMES[word] for word in words if word in _VOLUMES}
    if len(found) > 1:
        raise SpecError("-q and -v: wants one of them, got both: -q says less while runs train, -v says more")
    rest = [word for word in words if word not in _VOLUMES]
    return rest, found.pop() if found else "plain"


def list_overrides(words: Sequence[str]) -> list[str]:
    """Return the words that are overrides, without Hydra's flags and their values."""
    return [word for word in words if not word.startswith("-") and ("=" in word or word.startswith("~"))]


def name_sweep(overrides: Sequence[str]) -> str:
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


def _expand_suite(words: Sequence[str]) -> list[str]:
    """Return the words with `suite=NAME` written out as its workloads and its other overrides."""
    chosen = [word for word in words if word.startswith("suite=")]
    if not chosen:
        return list(words)
    name = chosen[-1].partition("=")[2]
    suite = _read_suite(name, words)
    own = [f"workload={','.join(suite['workloads'])}", *suite.get("overrides", [])]
    rest = [word for word in words if word not in chosen]
    return [*([] if {"-m", "--multirun"} & set(rest) else ["-m"]), *_unsaid(own, rest), *rest]


def _expand_preset(words: Sequence[str]) -> list[str]:
    """Return the words with `model.preset=A,B` written out as those members of the group `model`.

    A preset is a YAML that builds on another, so `model=` beside it names the one it builds on, or nothing.
    """
    chosen = [word for word in words if word.startswith("model.preset=")]
    if not chosen:
        return list(words)
    files = _find_files("model", words)
    bases = [word.partition("=")[2] for word in words if word.startswith("model=")]
    names = []
    for typed in chosen[-1].partition("=")[2].split(","):
        name = re.sub(r"[-.]", "_", typed.strip())
        known = [stem for stem in files if not bases or _builds_on(files, stem, bases[-1])]
        if name not in known:
            hint = nearest(name, known) or f"; known: {', '.join(sorted(known)) or 'none'}"
            of = f" of {bases[-1]}" if bases else ""
            raise SpecError(f"model.preset={typed}: no such preset{of}{hint}")
        names.append(name)
    rest = [word for word in words if word not in chosen and not word.startswith("model=")]
    return [*rest, f"model={','.join(names)}"]


def _builds_on(files: Mapping[str, Path], stem: str, base: str) -> bool:
    """Return whether a model's YAML lists another among its defaults, itself or through one that it lists."""
    content = yaml.safe_load(files[stem].read_text()) if stem in files else None
    listed = content.get("defaults", []) if isinstance(content, dict) else []
    parents = [entry for entry in listed if isinstance(entry, str) and entry != "_self_"]
    return base in parents or any(_builds_on(files, parent, base) for parent in parents)


def _find_files(group: str, words: Sequence[str]) -> dict[str, Path]:
    """Return the members of a group by name: ours, and over them those of folders that words name."""
    folders = [config_folder()]
    for place, word in enumerate(words):
        flag, _, value = word.partition("=")
        if flag in ("--config-dir", "-cd"):
            folders.insert(0, Path(value or "".join(words[place + 1 : place + 2])))
    return {path.stem: path for folder in reversed(folders) for path in (folder / group).glob("*.yaml")}


def _read_suite(name: str, words: Sequence[str]) -> Any:
    files = _find_files("suite", words)
    if name not in files:
        known = sorted(files)
        hint = nearest(name, known) or f"; known: {', '.join(known)}"
        raise SpecError(f"suite={name}: no such choice{hint}")
    suite = yaml.safe_load(files[name].read_text())
    if not isinstance(suite, dict) or not isinstance(suite.get("workloads"), list):
        raise SpecError(f"suite={name}: wants a list under `workloads`, and may list `overrides`")
    return suite


def _unsaid(own: Sequence[str], words: Sequence[str]) -> list[str]:
    """Return those overrides whose key no word sets."""
    said = {word.lstrip("+").partition("=")[0] for word in words}
    return [word for word in own if word.partition("=")[0] not in said]


def _expand(word: str) -> str:
    key, _, value = word.partition("=")
    if key == "retry" and value and value[0] not in "['\"":
        # A list to Hydra, not a sweep over its items.
        return f"retry=[{value}]"
    if key == "run" and re.fullmatch(r"\w+", value):
        # Digits with an e among them are a number to Hydra.
        return f"run='{value}'"
    if key == "seeds":
        return f"seeds.num={value}"
    if key.startswith("search.space."):
        return f"++{word}"
    if key.lstrip("+").startswith("optimizer.groups"):
        return _expand_rule(key.lstrip("+"), value)
    if "interval(" not in value:
        return word
    try:
        parsed = OverridesParser.create().parse_override(word)
    except HydraException:
        # Hydra says it better, with the whole command before it.
        return word
    sweep = parsed.value()
    if not isinstance(sweep, IntervalSweep):
        return word
    is_log = "true" if "log" in sweep.tags else "false"
    return f"++search.space.{key.lstrip('+')}={{low:{sweep.start},high:{sweep.end},log:{is_log}}}"


def _expand_rule(key: str, value: str) -> str:
    """Return a rule for parameters so that Hydra adds it; a pattern of names is no key to Hydra."""
    pattern, _, option = key.removeprefix("optimizer.groups").lstrip(".").rpartition(".")
    if re.fullmatch(r"\w*", pattern):
        return f"++{key}={value}"
    try:
        parsed = OverridesParser.create().parse_override(f"x={value}")
    except HydraException:
        return f"{key}={value}"
    values = parsed.sweep_string_iterator() if parsed.is_sweep_override() else [value]
    return "++optimizer.groups=" + ",".join(f"{{{pattern}:{{{option}:{one}}}}}" for one in values)
