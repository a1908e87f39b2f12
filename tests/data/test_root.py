"""Files are found where they were said to be, then in BENCH_DATA, then where a system's package put them."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from bench.data.root import find_folder, pick_file, read_file, refuse
from bench.errors import DataError


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BENCH_DATA", raising=False)


def put(folder: Path, name: str = "a.bin", content: bytes = b"x") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
    return folder


def test_the_order_is_root_then_environment_then_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named, everyone, system = (put(tmp_path / name) for name in ("named", "everyone", "system"))
    assert find_folder(None, [], ["a.bin"]) is None
    assert find_folder(None, [], ["a.bin"], [str(system)]) == system
    monkeypatch.setenv("BENCH_DATA", str(everyone))
    assert find_folder(None, [], ["a.bin"], [str(system)]) == everyone
    assert find_folder(str(named), [], ["a.bin"], [str(system)]) == named
    # What lies elsewhere does not keep a system's package from being found.
    (everyone / "a.bin").unlink()
    assert find_folder(None, [], ["a.bin"], [str(system)]) == system


def test_a_sets_own_folder_goes_before_files_of_the_same_name_beside_it(tmp_path: Path) -> None:
    put(tmp_path)
    assert find_folder(str(tmp_path), ["Set/raw"], ["a.bin"]) == tmp_path
    own = put(tmp_path / "Set" / "raw", "a.bin.gz")
    assert find_folder(str(tmp_path), ["Set/raw"], ["a.bin"]) == own


@pytest.mark.parametrize("name", ["train_000.bin", "train_000.bin.gz"])
def test_a_pattern_finds_any_of_its_files(tmp_path: Path, name: str) -> None:
    put(tmp_path, name)
    assert find_folder(str(tmp_path), [], ["missing", "train_*.bin"]) == tmp_path


def test_a_root_that_was_given_is_searched_alone_and_must_have_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full, empty = put(tmp_path / "full"), tmp_path / "empty"
    empty.mkdir()
    monkeypatch.setenv("BENCH_DATA", str(full))
    with pytest.raises(DataError, match=r"^data\.root: wants a\.bin in it, got a folder without$"):
        find_folder(str(empty), [], ["a.bin"], [str(full)])


@pytest.mark.parametrize("is_file", [False, True])
def test_a_folder_that_is_none_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_file: bool
) -> None:
    place = tmp_path / "place"
    if is_file:
        place.write_text("")
    with pytest.raises(DataError, match=r"^data\.root: wants a folder, got .*place$"):
        find_folder(str(place), [], ["a.bin"])
    monkeypatch.setenv("BENCH_DATA", str(place))
    with pytest.raises(DataError, match=r"^BENCH_DATA: wants a folder, got .*place$"):
        find_folder(None, [], ["a.bin"])


def test_a_plain_file_is_preferred_and_a_packed_one_is_unpacked(tmp_path: Path) -> None:
    put(tmp_path, "a.bin.gz", gzip.compress(b"packed"))
    assert read_file(pick_file(tmp_path, "a.bin")) == b"packed"
    put(tmp_path, "a.bin", b"plain")
    assert read_file(pick_file(tmp_path, "a.bin")) == b"plain"
    with pytest.raises(DataError, match=r"^data\.root: b\.bin: wants the file beside the others, got none$"):
        pick_file(tmp_path, "b.bin")


# Without a clock in it: parallel test processes have to read the same bytes.
WHOLE = gzip.compress(b"some content" * 50, mtime=0)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.gz", b"some content", "wants a whole gzip file, got Not a gzipped file"),
        ("a.gz", WHOLE[:-12], "wants a whole gzip file, got "),
        ("a.gz", WHOLE[:20] + b"\xff\xff" + WHOLE[22:], "wants a whole gzip file, got "),
        ("a.gz", WHOLE[:-8] + b"\0\0\0\0" + WHOLE[-4:], "wants a whole gzip file, got CRC check failed"),
        ("a.gz", gzip.compress(bytes(10**6), mtime=0), "wants at most 1,000 bytes, got more"),
        ("a.bin", bytes(1001), "wants at most 1,000 bytes, got more"),
    ],
    ids=["not-gzip", "cut", "flipped", "checksum", "bomb", "long"],
)
def test_a_file_that_cant_be_read_is_one_line(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    put(tmp_path, name, content)
    with pytest.raises(DataError) as caught:
        read_file(tmp_path / name, max_bytes=1000)
    assert str(caught.value).startswith(f"data.root: {name}: {said}")
    assert "\n" not in str(caught.value)


def test_a_folder_in_the_place_of_a_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.bin").mkdir()
    with pytest.raises(DataError, match=r"^data\.root: a\.bin: wants a readable file, got Is a directory$"):
        read_file(tmp_path / "a.bin")


def test_what_a_file_says_is_quoted_in_one_short_line() -> None:
    line = str(refuse(Path("some/where/a.bin"), "a number", "one\ntwo" + 10_000 * "!"))
    assert line.startswith("data.root: a.bin: wants a number, got one two!!!")
    assert "\n" not in line and len(line) < 250
