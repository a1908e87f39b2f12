"""Whatever lies where a result should: one line that names it, soon; the results beside it still count."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench import index
from bench.errors import StoreError
from bench.kinds import SCHEMA
from bench.record import MAX_RECORD_BYTES, encode, read_record
from bench.result import Result
from tests.records import make_result
from tests.sweeps import make_study, write_sweep

WHOLE = encode(make_result())
PLAIN: dict[str, Any] = json.loads(WHOLE)


def change(**changes: Any) -> bytes:
    return json.dumps(PLAIN | changes).encode()


def change_in(part: str, **changes: Any) -> bytes:
    return change(**{part: PLAIN[part] | changes})


def repeat(key: str, value: str) -> bytes:
    return WHOLE.replace(b"{", f'{{"{key}": {value}, '.encode(), 1)


CONTENTS: list[bytes] = [
    b"",
    b" ",
    b"\n\n",
    b"{",
    b"}",
    b"[]",
    b"null",
    b"true",
    b"7",
    b'"text"',
    b"{}",
    b"\x00",
    b"\xff\xfe{}",
    b"\xef\xbb\xbf" + WHOLE,
    WHOLE.decode().encode("utf-16"),
    b"\x89PNG\r\n\x1a\n" + WHOLE,
    b"\x1f\x8b\x08" + WHOLE,
    b"PK\x03\x04" + WHOLE,
    b"<html></html>",
    b"a: &a [*a]\n",
    b"!!python/object/apply:os.system ['true']",
    b"\x80\x04\x95.",
    WHOLE[:-3],
    WHOLE[: len(WHOLE) // 2],
    WHOLE[1:],
    WHOLE + WHOLE,
    WHOLE + b"x",
    WHOLE.replace(b'"finished"', b"finished"),
    WHOLE.replace(b":", b"=", 3),
    b"[" * 100_000,
    b"[" * 100_000 + b"]" * 100_000,
    b'{"a":' * 100_000,
    b'{"schema": 1, "a": ' + b"[" * 100_000,
    b'{"schema": 1}',
    b'{"schema": "1"}',
    b'{"schema": null}',
    b'{"schema": 1e400}',
    b'{"schema": NaN}',
    b'{"schema": ' + b"9" * 5000 + b"}",
    change(schema=SCHEMA + 1),
    change(schema=10**18),
    change(schema=-1.5),
    change(extra=1),
    change(status="fine"),
    change(status=None),
    change(id=7),
    change(run=None),
    change(run=[]),
    change(curve={}),
    change(machine="mine"),
    change(val_loss="low"),
    change(num_steps="many"),
    change(artifacts=7),
    WHOLE.replace(b'"val_loss": 0.5', b'"val_loss": NaN'),
    WHOLE.replace(b'"val_loss": 0.5', b'"val_loss": Infinity'),
    WHOLE.replace(b'"val_loss": 0.5', b'"val_loss": 1e999'),
    WHOLE.replace(b'"val_loss": 0.5', b'"val_loss": .5'),
    change_in("run", seed=-1),
    change_in("run", threads=0),
    change_in("run", device="tpu"),
    change_in("curve", step="all"),
    change_in("curve", elapsed_s=[None]),
    change_in("machine", device=None),
    repeat("status", '"diverged"'),
    repeat("val_loss", "0.001"),
    WHOLE.replace(b'"seed": 0', b'"seed": 1, "seed": 0'),
    WHOLE.replace(b'"finished"', b'"\\ud800"'),
    WHOLE.replace(b'"finished"', b'"fin\x00ished"'),
]
PLACES: dict[str, Callable[[Path], object]] = {
    "folder": Path.mkdir,
    "pipe": os.mkfifo,
    "loop": lambda path: path.symlink_to(path),
    "dangling": lambda path: path.symlink_to(path.parent / "nowhere"),
    "zeros": lambda path: path.symlink_to("/dev/zero"),
    "huge": lambda path: (path.touch(), os.truncate(path, MAX_RECORD_BYTES + 1)),
    "enormous": lambda path: (path.touch(), os.truncate(path, 2**40)),
    "zeroed": lambda path: (path.touch(), os.truncate(path, 2**20)),
}


def read_line(path: Path) -> str:
    start = time.process_time()
    with pytest.raises(StoreError) as caught:
        read_record(path, Result)
    assert time.process_time() - start < 1.0
    return str(caught.value)


def test_what_is_no_result_is_one_line() -> None:
    assert len(CONTENTS) + len(PLACES) >= 60


@pytest.mark.parametrize("number", range(len(CONTENTS)))
def test_a_malformed_file_is_one_line(number: int, tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_bytes(CONTENTS[number])
    line = read_line(path)
    assert line.startswith(f"{path}: ") and "\n" not in line and len(line) < len(str(path)) + 300


@pytest.mark.parametrize("kind", PLACES)
def test_what_is_no_file_is_one_line_and_nobody_waits(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    PLACES[kind](path)
    line = read_line(path)
    assert line.startswith(f"{path}: ") and "\n" not in line


def test_a_file_written_by_hand_is_as_good(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text(json.dumps(PLAIN, indent=7, sort_keys=True))
    assert read_record(path, Result) == make_result()


def test_the_results_beside_them_still_count(tmp_path: Path) -> None:
    root = tmp_path / "results"
    write_sweep(root, [(make_study("adamw"), [0.01, 0.02])])
    for number, content in enumerate(CONTENTS):
        path = root / "runs" / "ff" / f"{number:032x}" / "here" / "result.json"
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    for number, (_, make) in enumerate(PLACES.items()):
        path = root / "runs" / "fe" / f"{number:032x}" / "here" / "result.json"
        path.parent.mkdir(parents=True)
        make(path)
    start = time.process_time()
    frame = index.load(root)
    assert time.process_time() - start < 10.0
    assert frame["error"].isna().sum() == 2
    assert not frame["error"].dropna().str.contains("\n").any()
    assert len(frame) >= 2 + len(CONTENTS)
