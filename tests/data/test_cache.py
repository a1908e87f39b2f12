"""What is slow is made once; what is damaged on disk is made again, and never believed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bench.data.cache import recall


class Maker:
    """Makes the same arrays each time, and counts how often."""

    def __init__(self) -> None:
        self.num_calls = 0

    def __call__(self) -> dict[str, np.ndarray]:
        self.num_calls += 1
        return {"rows": np.arange(6.0).reshape(2, 3), "labels": np.array([3, 1])}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def assert_whole(arrays: dict[str, np.ndarray]) -> None:
    expected = Maker()()
    assert arrays.keys() == expected.keys()
    for name, array in expected.items():
        assert arrays[name].dtype == array.dtype
        assert np.array_equal(arrays[name], array)


def test_arrays_are_made_once_and_read_back_alike(folder: Path) -> None:
    make = Maker()
    for _ in range(3):
        assert_whole(recall("a_set-1.0", make))
    assert make.num_calls == 1
    assert [path.name for path in folder.iterdir()] == ["a_set-1.0.npz"]
    recall("a_set-1.1", make)
    assert make.num_calls == 2


def test_without_a_folder_named_it_is_under_the_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BENCH_CACHE", raising=False)
    monkeypatch.chdir(tmp_path)
    recall("a_set", Maker())
    assert (tmp_path / "results" / ".cache" / "a_set.npz").is_file()


def change_a_number(path: Path) -> None:
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    arrays["rows"][1, 1] += 1
    np.savez(path, **arrays)


def drop_the_hash(path: Path) -> None:
    np.savez(path, **Maker()())


def put_objects_in(path: Path) -> None:
    np.savez(path, rows=np.array([{"a": 1}], dtype=object), allow_pickle=True)


def put_one_array_in(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.arange(3))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "no zip": lambda path: path.write_bytes(b"not a zip file"),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "bytes lost in the middle": lambda path: path.write_bytes(
        path.read_bytes()[:80] + path.read_bytes()[90:]
    ),
    "a number changed": change_a_number,
    "no hash": drop_the_hash,
    "objects": put_objects_in,
    "one bare array": put_one_array_in,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_file_is_made_again(folder: Path, damage: Callable[[Path], object]) -> None:
    make = Maker()
    recall("a_set", make)
    damage(folder / "a_set.npz")
    assert_whole(recall("a_set", make))
    assert make.num_calls == 2
    assert_whole(recall("a_set", make))
    assert make.num_calls == 2


def test_a_folder_that_cant_be_written_costs_time_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "file" / "cache"))
    make = Maker()
    for num_calls in (1, 2):
        assert_whole(recall("a_set", make))
        assert make.num_calls == num_calls
