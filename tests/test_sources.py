"""An import path outside installed packages stands for its source; one inside stands for its version."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import sources


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "constants.py").write_text("BETA = 0.9\n")
    (folder / "fast.py").write_text("from .constants import BETA\n\nclass Fast: ...\n")
    (folder / "other.py").write_text("class Other: ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    yield folder
    sys.modules.pop("mine", None)


def digest(target: str) -> str:
    sources._digest.cache_clear()
    return sources.digest_sources([target])[target]


def test_editing_the_file_or_what_it_imports_changes_the_digest(package: Path) -> None:
    before, other = digest("mine.fast.Fast"), digest("mine.other.Other")
    assert before.startswith("sha256:")
    assert digest("mine.fast.Fast") == before
    (package / "constants.py").write_text("BETA = 0.8\n")
    after = digest("mine.fast.Fast")
    assert after != before
    (package / "fast.py").write_text("from .constants import BETA\n\nclass Fast: x = 1\n")
    assert digest("mine.fast.Fast") not in (before, after)
    assert digest("mine.other.Other") == other
    assert "mine" not in sys.modules


def test_installed_packages_answer_by_version_and_ours_not_at_all() -> None:
    assert sources.digest_sources(["torch.optim.SGD", "bench.model.mlp.Mlp"]) == {}
    assert digest("hypothesis.strategies.floats").startswith("hypothesis 6.")
    assert digest("nowhere_at_all.Thing") == "not found"
