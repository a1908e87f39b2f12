"""The checkout fits every machine: nothing in it names this one, and what it needs is pinned once."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

# Spelt in two parts, so that this file does not name them.
HOSTS = ("pypi" + ".org", "python" + "hosted", "download.py" + "torch", "conda." + "anaconda", "npm" + "js.")
# Folders of one machine; the lookbehind leaves `a/home/b` and `~/work/` alone.
PLACES = re.compile(r"(?<![\w.~/-])/" + "(root|home|work|opt|Users|mnt|data)/")
# Import name -> what provides it: omegaconf comes with Hydra and is not to be named, markupsafe with Jinja.
PROVIDERS = {"PIL": "pillow", "sklearn": "scikit-learn", "yaml": "pyyaml", "markupsafe": "jinja2"}
PROVIDERS |= {"hydra": "hydra-core", "omegaconf": "hydra-core"}
MAX_TEXT_BYTES = 5 * 2**20


@pytest.fixture(scope="module")
def project(root: Path) -> dict[str, Any]:
    return tomllib.loads((root / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def pins(root: Path) -> dict[str, str]:
    lines = (root / "constraints.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    assert all(len(pair) == 2 for pair in pairs), "constraints.txt: every line is name==version"
    return {_normalise(name): version for name, version in pairs}


def test_no_file_names_this_machine_or_a_registry(root: Path, files: list[Path]) -> None:
    here = [f"{root}/", f"{Path.home()}/"]
    breaches = []
    for path in files:
        content = (root / path).read_bytes()
        if b"\0" in content[:8192] or len(content) > MAX_TEXT_BYTES:
            continue
        for number, line in enumerate(content.decode(errors="replace").splitlines(), 1):
            if any(word in line for word in (*HOSTS, *here)) or PLACES.search(line):
                breaches.append(f"{path}:{number}: {line.strip()[:100]}")
    assert breaches == []


def test_every_dependency_is_pinned(project: dict[str, Any], pins: dict[str, str]) -> None:
    wanted = [*project["project"]["dependencies"], *project["project"]["optional-dependencies"]["dev"], "nox"]
    names = {_normalise(re.split(r"[\s<>=!~;\[]", requirement)[0]) for requirement in wanted}
    assert names - pins.keys() == set()
    # A local build label such as +cpu would tie the pin to one machine's wheel.
    assert [pin for pin in pins.items() if "+" in pin[1]] == []


def test_every_import_is_a_declared_dependency(
    root: Path, files: list[Path], project: dict[str, Any]
) -> None:
    declared = {_normalise(re.split(r"[\s<>=!~;\[]", one)[0]) for one in project["project"]["dependencies"]}
    undeclared = []
    for path in files:
        if path.parts[0] != "bench" or path.suffix != ".py":
            continue
        for node in ast.walk(ast.parse((root / path).read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [str(node.module)]
            for top in {name.split(".")[0] for name in names} - sys.stdlib_module_names - {"bench"}:
                if _normalise(PROVIDERS.get(top, top)) not in declared:
                    undeclared.append(f"{path}: {top}")
    assert undeclared == []


def test_hydra_chooses_its_own_omegaconf(project: dict[str, Any]) -> None:
    named = project["project"]["dependencies"]
    assert [requirement for requirement in named if _normalise(requirement).startswith("omegaconf")] == []


def _normalise(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
