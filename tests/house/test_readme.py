"""The README tells the truth: its tree is the disk, and its first commands run as written.

The tree is the ```text block right after the heading `## The tree`: one path a line, indented by two spaces
a level, folders end with `/`, and at least two spaces stand between a path and its phrase. The commands are
the ```bash blocks between the heading `## Quick start` and the next one.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

# Every command has to end within this; the promise of the README is a first report in about a minute.
TIMEOUT_S = 120
# What makes a command cheap without changing what it shows to work.
CHEAP = ("budget=smoke", "seeds=2", "search.trials=3", "search.confirm=1", "search.widen=false")
# Left by sweeps, so absent from a fresh checkout.
MADE = {Path("results")}
# The reader of the tree is in the one, and is not meant to open the others.
UNLISTED = {"README.md", "__init__.py", "__main__.py"}


@pytest.fixture(scope="module")
def readme(root: Path) -> str:
    return (root / "README.md").read_text()


@pytest.fixture(scope="module")
def tree(readme: str) -> dict[Path, bool]:
    """Listed path -> whether it is written as a folder."""
    block = re.search(r"^## The tree\n+```text\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    assert block, "README.md: wants a ```text block right after the heading `## The tree`"
    listed: dict[Path, bool] = {}
    parents: list[str] = []
    for line in block[1].splitlines():
        entry = re.fullmatch(r"(?P<indent>(?:  )*)(?P<name>[\w.\-]+/?)  +\S.*", line)
        assert entry, f"README.md: wants `path  phrase`, got {line!r}"
        level = len(entry["indent"]) // 2
        assert level <= len(parents), f"README.md: {line!r} is indented under a file"
        parents = parents[:level]
        path = Path(*parents, entry["name"])
        assert path not in listed, f"README.md: {path} is listed twice"
        listed[path] = entry["name"].endswith("/")
        if listed[path]:
            parents.append(entry["name"])
    return listed


def test_every_listed_path_exists(root: Path, tree: dict[Path, bool]) -> None:
    is_there = {True: Path.is_dir, False: Path.is_file}
    gone = [path for path, is_folder in tree.items() if not is_there[is_folder](root / path)]
    assert set(gone) <= MADE


def test_every_part_is_listed(files: list[Path], tree: dict[Path, bool]) -> None:
    parts = {Path(path.parts[0]) for path in files if not path.parts[0].startswith(".")}
    parts |= {Path(*path.parts[:2]) for path in files if path.parts[0] == "bench" and len(path.parts) > 1}
    unlisted = sorted(part for part in parts if part.name not in UNLISTED and part not in tree)
    assert unlisted == []


@pytest.mark.slow
def test_the_first_commands_run(root: Path, readme: str, tmp_path: Path) -> None:
    commands = _quick_start(readme)
    assert any(command[2] == "bench" for command in commands), "README.md: no `python -m bench` to show"
    environment = os.environ | {"PYTHONPATH": str(root)}
    for command in commands:
        if command[2] == "bench":
            keys = tuple(word.split("=")[0] + "=" for word in CHEAP)
            command = [word for word in command if not word.startswith(keys)] + list(CHEAP)
        command = [sys.executable, *command[1:]]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S
        )
        assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}\n{done.stderr}"
    assert list(tmp_path.glob("results/*/report.html")), "the commands left no report"


def _quick_start(readme: str) -> list[list[str]]:
    """Return the `python -m bench...` lines of the section, split as a shell would."""
    section = re.search(r"^## Quick start\n(.*?)(?=^## |\Z)", readme, re.MULTILINE | re.DOTALL)
    assert section, "README.md: wants a heading `## Quick start`"
    blocks = re.findall(r"^```bash\n(.*?)^```", section[1], re.MULTILINE | re.DOTALL)
    lines = re.split(r"\n|&&", "".join(blocks).replace("\\\n", " "))
    commands = [shlex.split(line, comments=True) for line in lines]
    return [words for words in commands if re.match(r"python -m bench\b", " ".join(words))]


@pytest.mark.slow
def test_the_python_example_runs(root: Path, readme: str, tmp_path: Path) -> None:
    block = re.search(r"^```python\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    assert block, "README.md: wants a ```python block"
    script = tmp_path / "example.py"
    script.write_text(block[1])
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "radam" in done.stdout and len(block[1].strip().splitlines()) <= 10
