"""Token files of others come back token for token, and a damaged one is a line that names it."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.data import shards
from bench.data.token_shards import TokenShards
from bench.errors import DataError, Unsupported

PLAIN: dict[str, Any] = {
    "folders": [],
    "train": "train.bin",
    "val": "val.bin",
    "has_header": False,
    "vocab_size": 100,
    "length": 3,
    "num_val_tokens": 100,
}
MARKED = PLAIN | {"train": "web_train_*.bin", "val": "web_val_*.bin", "has_header": True}
LLAMA = 20240801


def pack(tokens: list[int], mark: int = 20240520, version: int = 1, count: int | None = None) -> bytes:
    """Return a file with a header."""
    kind = "<u4" if mark == LLAMA else "<u2"
    header = struct.pack("<3i", mark, version, len(tokens) if count is None else count)
    return header.ljust(1024, b"\0") + np.array(tokens, dtype=kind).tobytes()


def plain(tokens: list[int]) -> bytes:
    return np.array(tokens, dtype="<u2").tobytes()


def load(folder: Path | None, settings: dict[str, Any], **changes: Any) -> TokenShards:
    return TokenShards(root=None if folder is None else str(folder), **(settings | changes))


def write(folder: Path, **files: bytes) -> None:
    for name, content in files.items():
        (folder / f"{name}.bin").write_bytes(content)


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.delenv("BENCH_DATA", raising=False)


def test_a_file_of_known_bytes_is_the_tokens_it_says(tmp_path: Path) -> None:
    # 1, 2, 259, 4, 5, 6, 7, 8, 9, 10, then 11 to 17.
    train = bytes.fromhex("0100 0200 0301 0400 0500 0600 0700 0800 0900 0a00")
    write(tmp_path, train=train, val=plain([11, 12, 13, 14, 15, 16, 17]))
    data = load(tmp_path, PLAIN, vocab_size=260)
    inputs, targets = data.train_batch(0, 0, 100)
    assert isinstance(inputs, torch.Tensor)
    assert inputs.dtype == targets.dtype == torch.int64
    assert inputs.tolist() == [[1, 2, 259], [4, 5, 6]]
    assert targets.tolist() == [[2, 259, 4], [5, 6, 7]]
    halves = {part: [(x.tolist(), y.tolist()) for x, y in data.val_batches(part)] for part in PARTS}
    assert halves == {
        "search": [([[11, 12, 13]], [[12, 13, 14]])],
        "report": [([[14, 15, 16]], [[15, 16, 17]])],
    }
    assert (data.num_outputs, data.item, data.items_per_row) == (260, "token", 3)


PARTS: tuple[Any, ...] = ("search", "report")


@pytest.mark.parametrize(("mark", "version"), [(20240520, 1), (LLAMA, 7)])
def test_several_files_are_one_text(tmp_path: Path, mark: int, version: int) -> None:
    text = [(7 * place) % 97 for place in range(40)]
    cuts = {"web_train_000001": text[:5], "web_train_000002": text[5:6], "web_train_000010": text[6:]}
    write(tmp_path, **{name: pack(tokens, mark, version) for name, tokens in cuts.items()})
    write(tmp_path, web_val_000000=pack(text, mark, version))
    data = load(tmp_path, MARKED)
    inputs, _ = data.train_batch(0, 0, 100)
    assert isinstance(inputs, torch.Tensor)
    assert inputs.flatten().tolist() == text[:36]
    for step in range(8):
        inputs, targets = data.train_batch(0, step, 4)
        assert isinstance(inputs, torch.Tensor)
        assert torch.equal((inputs + 7) % 97, targets)
    assert data.describe()["files to train on"] == "3 (web_train_000001.bin to web_train_000010.bin)"
    assert data.describe()["files held out"] == "1 (web_val_000000.bin)"


def test_large_tokens_fit(tmp_path: Path) -> None:
    top = [128255] * 8
    write(tmp_path, web_train_0=pack(top, LLAMA, 7), web_val_0=pack(top, LLAMA, 7))
    data = load(tmp_path, MARKED, vocab_size=128256)
    assert data.train_batch(0, 0, 1)[1].tolist() == [[128255] * 3]


def test_files_are_found_below_the_environments_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = "not run: wants train.bin in data.root or in the folder BENCH_DATA names"
    with pytest.raises(Unsupported, match=f"^{line}$"):
        load(None, PLAIN)
    (tmp_path / "owt").mkdir()
    write(tmp_path / "owt", train=plain(list(range(9))), val=plain(list(range(9))))
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    assert load(None, PLAIN, folders=["web", "owt"]).describe()["from"] == str(tmp_path / "owt")


def test_the_hash_is_of_content_and_side_but_not_of_names(tmp_path: Path) -> None:
    one, other = plain(list(range(9))), plain(list(range(1, 10)))
    hashes = []
    for number, (train, val) in enumerate([(one, other), (one, other), (other, one), (one, one)]):
        folder = tmp_path / str(number)
        folder.mkdir()
        write(folder, train=train, val=val)
        if number == 1:
            (folder / "train.bin").rename(folder / "renamed.bin")
        name = "renamed.bin" if number == 1 else "train.bin"
        hashes.append(load(folder, PLAIN, train=name).sha256)
    assert hashes[0] == hashes[1] and len(set(hashes)) == 3


def test_all_tokens_are_read_once_a_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, train=plain(list(range(9))), val=plain(list(range(1, 10))))
    load(tmp_path, PLAIN)

    def refuse_to(tokens: np.ndarray) -> np.ndarray:
        raise AssertionError("read again")

    monkeypatch.setattr(shards, "_find_largest", refuse_to)
    load(tmp_path, PLAIN)
    # A remembered file is still held against this vocabulary.
    with pytest.raises(DataError, match=r"^data\.root: train\.bin: wants tokens below 8, got 8 at token 8$"):
        load(tmp_path, PLAIN, vocab_size=8)
    write(tmp_path, train=plain(list(range(10))))
    with pytest.raises(AssertionError):
        load(tmp_path, PLAIN)


def test_a_large_token_is_named_with_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Far from the ends that are hashed, in the third piece of several.
    monkeypatch.setattr(shards, "PIECE", 8)
    tokens = [1] * 40
    tokens[19] = tokens[30] = 100
    write(tmp_path, train=plain(tokens), val=plain([1] * 9))
    with pytest.raises(DataError) as caught:
        load(tmp_path, PLAIN)
    assert str(caught.value) == "data.root: train.bin: wants tokens below 100, got 100 at token 19"


GOOD = list(range(9))
NAME = "web_train_000001"


def _rewrite(content: bytes) -> Callable[[Path], None]:
    return lambda folder: write(folder, **{NAME: content})


def _replace(name: str, content: bytes | None) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / f"{name}.bin").unlink()
        if content is not None:
            write(folder, **{name: content})

    return change


def _make_folder(folder: Path) -> None:
    (folder / f"{NAME}.bin").unlink()
    (folder / f"{NAME}.bin").mkdir()


MALFORMED: list[tuple[str, Callable[[Path], None], str]] = [
    ("empty", _rewrite(b""), f"{NAME}.bin: wants a header of 1024 bytes, got 0 bytes"),
    ("half a header", _rewrite(b"\0" * 1023), f"{NAME}.bin: wants a header of 1024 bytes, got 1,023 bytes"),
    (
        "no header",
        _rewrite(plain([5] * 600)),
        f"{NAME}.bin: wants a header that starts with 20240520 or 20240801, got 327685",
    ),
    (
        "another's header",
        _rewrite(pack(GOOD, mark=20240519)),
        f"{NAME}.bin: wants a header that starts with 20240520 or 20240801, got 20240519",
    ),
    (
        "big-endian",
        _rewrite(struct.pack(">3i", 20240520, 1, 9).ljust(1024, b"\0") + plain(GOOD)),
        f"{NAME}.bin: wants a header that starts with 20240520 or 20240801, got -1999096831",
    ),
    (
        "newer version",
        _rewrite(pack(GOOD, version=2)),
        f"{NAME}.bin: wants version 1 of the header 20240520, got 2",
    ),
    (
        "the other's version",
        _rewrite(pack(GOOD, mark=LLAMA, version=1)),
        f"{NAME}.bin: wants version 7 of the header 20240801, got 1",
    ),
    (
        "no token",
        _rewrite(pack([])),
        f"{NAME}.bin: wants a header that counts 1 token or more, got 0",
    ),
    (
        "a negative count",
        _rewrite(pack(GOOD, count=-1)),
        f"{NAME}.bin: wants a header that counts 1 token or more, got -1",
    ),
    (
        "cut short",
        _rewrite(pack(GOOD)[:-2]),
        f"{NAME}.bin: wants 1,042 bytes, as its header counts 9 tokens, got 1,040",
    ),
    (
        "half a token",
        _rewrite(pack(GOOD)[:-1]),
        f"{NAME}.bin: wants 1,042 bytes, as its header counts 9 tokens, got 1,041",
    ),
    (
        "more than counted",
        _rewrite(pack(GOOD, count=8)),
        f"{NAME}.bin: wants 1,040 bytes, as its header counts 8 tokens, got 1,042",
    ),
    (
        "two bytes where four are said",
        _rewrite(pack(GOOD, count=9).replace(struct.pack("<2i", 20240520, 1), struct.pack("<2i", LLAMA, 7))),
        f"{NAME}.bin: wants 1,060 bytes, as its header counts 9 tokens, got 1,042",
    ),
    (
        "a token beyond the vocabulary",
        _rewrite(pack([0, 1, 100, 3, 4, 5, 6, 7])),
        f"{NAME}.bin: wants tokens below 100, got 100 at token 2",
    ),
    (
        "the same held out",
        _replace("web_val_000000", pack([1, 2, 3, 4, 5, 6, 7, 65535])),
        "web_val_000000.bin: wants tokens below 100, got 65535 at token 7",
    ),
    (
        "sizes mixed",
        _replace("web_val_000000", pack(GOOD, LLAMA, 7)),
        f"web_val_000000.bin: wants tokens as in {NAME}.bin, got tokens of another size",
    ),
    ("nothing held out", _replace("web_val_000000", None), "wants web_val_*.bin, unpacked, in web, got no "),
    ("nothing to train on", _replace(NAME, None), "wants web_train_*.bin in it, got a folder without"),
    ("a folder of that name", _make_folder, "wants web_train_*.bin, unpacked, in web, got no such file"),
    (
        "shorter than two windows",
        _rewrite(pack(GOOD[:6])),
        "web_train_*.bin: wants at least 7 tokens, got 6",
    ),
    (
        "held out shorter than two windows",
        _replace("web_val_000000", pack(GOOD[:6])),
        "web_val_*.bin: wants at least 7 tokens, got 6",
    ),
]


@pytest.mark.parametrize(("change", "line"), [case[1:] for case in MALFORMED], ids=[c[0] for c in MALFORMED])
def test_a_malformed_file_is_one_line(tmp_path: Path, change: Callable[[Path], None], line: str) -> None:
    folder = tmp_path / "web"
    folder.mkdir()
    write(folder, **{NAME: pack(GOOD), "web_val_000000": pack(GOOD[::-1])})
    load(folder, MARKED)
    change(folder)
    with pytest.raises(DataError) as caught:
        load(folder, MARKED)
    assert str(caught.value).startswith(f"data.root: {line}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", "train.bin: wants two bytes a token, got 0 bytes"),
        (plain(GOOD) + b"\0", "train.bin: wants two bytes a token, got 19 bytes"),
        (
            pack(GOOD),
            "train.bin: wants tokens from the first byte on, got a header, which data.has_header=true reads",
        ),
    ],
)
def test_a_malformed_file_without_header_is_one_line(tmp_path: Path, content: bytes, line: str) -> None:
    write(tmp_path, train=content, val=plain(GOOD))
    with pytest.raises(DataError) as caught:
        load(tmp_path, PLAIN)
    assert str(caught.value) == f"data.root: {line}"


@pytest.mark.parametrize("key", ["train", "val"])
@pytest.mark.parametrize("pattern", ["/etc/*.bin", "../*.bin", "sub/*.bin", "..", ""])
def test_a_pattern_stays_in_its_folder(tmp_path: Path, key: str, pattern: str) -> None:
    write(tmp_path, train=plain(GOOD), val=plain(GOOD))
    with pytest.raises(DataError, match=rf"^data\.{key}: wants a file name or a pattern of names, without"):
        load(tmp_path, PLAIN, **{key: pattern})


def test_a_file_is_on_one_side(tmp_path: Path) -> None:
    write(tmp_path, train=plain(GOOD), val=plain(GOOD))
    with pytest.raises(DataError) as caught:
        load(tmp_path, PLAIN, train="*.bin")
    line = "data.root: val.bin: wants a file on one side, got one that both data.train and data.val name"
    assert str(caught.value) == line
