"""Our own conf/report/*.yaml, read as plain YAML: a report may be built where there is no Hydra."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import yaml

from bench import strict
from bench.errors import SpecError
from bench.health import Health


def read_shipped(name: str) -> tuple[Path, dict[str, Any]]:
    """Return one of our own files and what it says, wherever bench is installed.

    Args:
        name: Which; never from a stored result.

    Raises:
        SpecError: The file is absent.
    """
    package = Path(__file__).resolve().parents[1]
    # In a wheel the YAML travels inside the package; in a checkout it lies beside it.
    for conf in (package / "conf", package.parent / "conf"):
        path = conf / "report" / f"{name}.yaml"
        if path.is_file():
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
            return path, content if isinstance(content, dict) else {}
    raise SpecError(f"conf/report/{name}.yaml: not found beside or inside {package}")


@functools.cache
def default_health() -> Health:
    """Return where the diagnosis draws its lines unless a study says otherwise."""
    path, content = read_shipped("default")
    health: Health = strict.read(content.get("health"), Health, f"{path}: health")
    return health
