"""What is wrong with a request, in one line, whoever finds it: Hydra, the YAML reader, or we before them."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import hydra
import yaml
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bench.configuration import RESERVED, VERSION, config_folder
from bench.errors import SpecError, nearest

# What composing raises for a request that is wrong: Hydra checks little, and stumbles over the rest.
WRONG = (HydraException, OmegaConfBaseException, yaml.YAMLError, OSError, ValueError, RecursionError)
# A YAML of one's own is a page. What is more, by itself or once its aliases are written out, would have
# Hydra compute for minutes.
MAX_BYTES, MAX_NODES, MAX_DEPTH = 2**20, 10_000, 50
_WIDTH = 500
_NO_MEMBER = re.compile(r"\w+=(null|true|false|[+-]?(nan|inf|[\d.]+(e[+-]?\d+)?))", re.IGNORECASE)
# The C reader is there wherever PyYAML is built with it.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def complain(lines: Iterable[str]) -> int:
    """Print what is wrong, once each, and return the exit code that says so."""
    # Jobs of one sweep mostly share their mistake.
    for line in dict.fromkeys(lines):
        plain = "".join(character if character.isprintable() else "?" for character in " ".join(line.split()))
        print(f"bench: {plain if len(plain) <= _WIDTH else plain[:_WIDTH] + '...'}", file=sys.stderr)
    return 2


def check_folders(words: Sequence[str]) -> None:
    """Look through the YAML of folders that a command names, before Hydra does.

    Args:
        words: The command line.

    Raises:
        SpecError: A file is too large, by itself or by its aliases, or too deep.
    """
    for place, word in enumerate(words):
        flag, _, value = word.partition("=")
        if flag in ("--config-dir", "-cd"):
            for path in sorted(Path(value or "".join(words[place + 1 : place + 2])).rglob("*.yaml")):
                if path.is_file():
                    _check_file(path)


def _check_file(path: Path) -> None:
    if path.stat().st_size > MAX_BYTES:
        raise SpecError(f"{path}: wants at most {MAX_BYTES} bytes, got {path.stat().st_size}")
    try:
        is_small = _count_nodes(path.read_bytes()) <= MAX_NODES
    except yaml.YAMLError:
        # Whether anyone wants this file, Hydra finds out.
        return
    if not is_small:
        raise SpecError(
            f"{path}: wants at most {MAX_NODES} nodes, aliases written out, and {MAX_DEPTH} levels, got more"
        )


def _count_nodes(content: bytes) -> int:
    """Return the nodes of a YAML with its aliases written out; more than allowed where it is too deep."""
    # Of the collections that are open: nodes so far, and the anchor.
    open_ones: list[tuple[int, str | None]] = [(0, None)]
    sizes: dict[str, int] = {}
    for event in yaml.parse(content, Loader=_LOADER):
        anchor, size = getattr(event, "anchor", None), 0
        if isinstance(event, yaml.CollectionStartEvent):
            open_ones.append((1, anchor))
        elif isinstance(event, yaml.CollectionEndEvent):
            size, anchor = open_ones.pop()
        elif isinstance(event, yaml.ScalarEvent):
            size = 1
        elif isinstance(event, yaml.AliasEvent):
            size, anchor = sizes.get(str(event.anchor), 1), None
        if size:
            if anchor is not None:
                sizes[anchor] = size
            before, outer = open_ones.pop()
            open_ones.append((before + size, outer))
        if len(open_ones) > MAX_DEPTH or open_ones[-1][0] > MAX_NODES:
            return MAX_NODES + 1
    return open_ones[0][0]


def explain(error: Exception) -> str:
    """Return what went wrong while composing, in one line, with the nearest valid name."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, choice = error.missing_cfg_file.rpartition("/")
        options = list(error.options or [])
        known = f"; known: {', '.join(options)}" if options else ""
        return f"{group}={choice}: no such choice{nearest(choice, options) or known}"
    text = str(error).strip()
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"{mark.name}:{mark.line + 1}: {error.problem}"
    if isinstance(error, RecursionError):
        return "the configuration refers to itself, or is nested too deeply"
    if "Config group override must be" in text:
        found = [word for word in sys.argv[1:] if _NO_MEMBER.fullmatch(word)]
        return f"{' '.join(found) or 'a group'}: wants the name of a member of the group"
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
