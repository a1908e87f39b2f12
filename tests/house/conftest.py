"""What the house rules are held against: the files of this checkout, as git sees them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def files() -> list[Path]:
    """Every file of the project, relative to the checkout: tracked, or new and not ignored."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = sorted({Path(name) for name in listing.stdout.split("\0") if name})
    # A file removed but not yet committed is still in git's index.
    found = [path for path in found if (ROOT / path).is_file()]
    assert Path("pyproject.toml") in found, "the house rules would be held against nothing"
    return found
