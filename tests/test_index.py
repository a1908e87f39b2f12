"""The index answers as the files would, reads only what changed, and may be lost at any time."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from bench import index
from tests.sweeps import make_study, write_sweep


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "results"
    write_sweep(
        root, [(make_study("adamw"), [0.01, 0.02, "diverged"]), (make_study("sgd"), [0.03, "failed", 0.05])]
    )
    return root


@pytest.fixture
def read_files(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Every file that is parsed from here on."""
    read: list[Path] = []
    original = index.read_record  # type: ignore[attr-defined]

    def spy(path: Path, kind: type) -> object:
        read.append(path)
        return original(path, kind)

    monkeypatch.setattr(index, "read_record", spy)
    return read


def test_one_row_per_settled_result(root: Path) -> None:
    frame = index.load(root)
    assert len(frame) == 5 and frame["error"].isna().all()
    finished = frame[frame["status"] == "finished"].sort_values("val_loss")
    assert list(finished["val_loss"]) == [0.01, 0.02, 0.03, 0.05]
    assert list(finished["optimizer"]) == ["adamw", "adamw", "sgd", "sgd"]
    assert frame.loc[frame["status"] == "diverged", "val_loss"].isna().all()


def test_a_second_look_parses_nothing_and_says_the_same(root: Path, read_files: list[Path]) -> None:
    first = index.load(root)
    assert len(read_files) == 5
    pd.testing.assert_frame_equal(index.load(root), first)
    assert len(read_files) == 5


def test_only_new_changed_and_removed_files_matter(root: Path, read_files: list[Path]) -> None:
    index.load(root)
    read_files.clear()
    write_sweep(root, [(make_study("lion"), [0.07])], name="later")
    paths = sorted(root.glob("runs/*/*/*/result.json"))
    gone, changed = [path for path in paths if "lion" not in path.read_text()][:2]
    gone.unlink()
    changed.write_text(changed.read_text() + "\n")
    frame = index.load(root)
    assert len(frame) == 5 and sum(frame["optimizer"] == "lion") == 1
    assert len(read_files) == 2 and changed in read_files


@pytest.mark.parametrize("content", [None, b"", b"not parquet at all"])
def test_losing_or_damaging_the_index_changes_nothing(root: Path, content: bytes | None) -> None:
    first = index.load(root)
    path = root / index.INDEX_NAME
    assert path.is_file()
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    pd.testing.assert_frame_equal(index.load(root), first)


def test_an_index_of_another_shape_is_made_anew(root: Path) -> None:
    first = index.load(root)
    first.drop(columns="lr").to_parquet(root / index.INDEX_NAME)
    pd.testing.assert_frame_equal(index.load(root), first)


def test_unreadable_files_are_listed(root: Path) -> None:
    next(root.glob("runs/*/*/*/result.json")).write_text("{half")
    frame = index.load(root)
    assert len(frame) == 5 and frame["error"].notna().sum() == 1
    assert "result.json" in frame["error"].dropna().iloc[0]


def test_an_empty_folder_has_an_empty_index(tmp_path: Path) -> None:
    assert index.load(tmp_path).empty and not (tmp_path / index.INDEX_NAME).exists()


def test_a_folder_that_cannot_be_written_is_still_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.errors import StoreError

    def refuse(path: Path, content: bytes) -> None:
        raise StoreError(f"{path}: read-only")

    monkeypatch.setattr(index, "write_atomic", refuse)
    assert len(index.load(root)) == 5
