"""Imports go down the floors of the house, never up."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_imports_only_go_down(root: Path) -> None:
    # A process of its own: import-linter keeps its configuration in module globals.
    script = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))"
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
