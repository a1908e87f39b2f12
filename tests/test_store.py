"""What is published stays, is whole or absent, and is read back strictly."""

from __future__ import annotations

import json
import multiprocessing
import os
from pathlib import Path

import msgspec
import pytest

from bench.errors import StoreError
from bench.kinds import SCHEMA
from bench.publish import write_atomic
from bench.record import encode, read_record
from bench.result import Result
from bench.store import Store, environment
from tests.records import MACHINE, make_result

replace = msgspec.structs.replace


def test_a_settled_result_comes_back_equal(tmp_path: Path) -> None:
    store, result = Store(tmp_path), make_result(artifacts=("learned.png",))
    assert store.find(result.id, MACHINE) is None
    store.publish(result, {"learned.png": b"picture"})
    assert store.find(result.id, MACHINE) == result
    assert (store.run_folder(result.id, MACHINE) / "learned.png").read_bytes() == b"picture"
    assert not list(tmp_path.rglob(".tmp.*"))


def test_the_first_writer_wins(tmp_path: Path) -> None:
    store, first = Store(tmp_path), make_result()
    second = replace(first, train_s=9.0)
    assert store.publish(first) == first
    assert store.publish(second) == first
    assert store.find(first.id, MACHINE) == first


def test_other_torch_or_device_does_not_answer(tmp_path: Path) -> None:
    store, result = Store(tmp_path), make_result()
    store.publish(result)
    assert store.find(result.id, replace(MACHINE, torch="2.13.9")) == result
    assert store.find(result.id, replace(MACHINE, torch="2.14.0")) is None
    assert store.find(result.id, replace(MACHINE, device_name="Other CPU")) is None


def test_an_unsettled_end_is_an_attempt(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first = make_result(status="failed", detail="one", val_loss=None)
    second = replace(first, status="oom", detail="two")
    store.publish(first)
    store.publish(second)
    assert store.find(first.id, MACHINE) is None
    assert store.last_attempt(first.id, MACHINE) == second


def test_names_of_devices_never_leave_the_folder() -> None:
    name = environment(replace(MACHINE, device_name="../../etc/passwd\n" + "x" * 500))
    assert "/" not in name and ".." not in name and len(name) < 100


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"schema": 1}',
        b'{"schema": "1"}',
        b'{"schema": 1, "x": NaN}',
        b"[" * 100_000,
    ],
)
def test_a_damaged_file_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "result.json"
    path.write_bytes(content)
    with pytest.raises(StoreError) as caught:
        read_record(path, Result)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


def test_unknown_fields_and_newer_schemas_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    plain = json.loads(encode(make_result()))
    path.write_text(json.dumps(plain | {"extra": 1}))
    with pytest.raises(StoreError, match="unknown field `extra`"):
        read_record(path, Result)
    path.write_text(json.dumps(plain | {"schema": SCHEMA + 1}))
    with pytest.raises(StoreError, match="newer bench"):
        read_record(path, Result)


def test_every_truncation_is_noticed(tmp_path: Path) -> None:
    path, content = tmp_path / "result.json", encode(make_result())
    for length in range(0, len(content.rstrip()), 37):
        path.write_bytes(content[:length])
        with pytest.raises(StoreError):
            read_record(path, Result)


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, result = Store(tmp_path), make_result()

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StoreError, match="No space left"):
        store.publish(result)
    monkeypatch.undo()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert store.publish(result) == result


def _publish(root: str, train_s: float) -> float:
    return Store(Path(root)).publish(make_result(train_s=train_s)).train_s


def test_of_many_processes_one_wins(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        held = pool.starmap(_publish, [(str(tmp_path), float(number)) for number in range(20)])
    assert len(set(held)) == 1


def test_derived_files_are_replaced(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "summary.txt"
    write_atomic(path, b"one")
    write_atomic(path, b"two")
    assert path.read_bytes() == b"two" and [p.name for p in path.parent.iterdir()] == ["summary.txt"]


@pytest.mark.parametrize("place", ["torn", "newer", "foreign", "folder", "loop", "dangling"])
def test_what_cannot_be_read_is_kept_and_makes_room(place: str, tmp_path: Path) -> None:
    result, store = make_result(), Store(tmp_path)
    path = store.run_folder(result.id, MACHINE) / "result.json"
    path.parent.mkdir(parents=True)
    if place == "folder":
        (path / "inside").mkdir(parents=True)
    elif place in ("loop", "dangling"):
        path.symlink_to(path if place == "loop" else path.parent / "nowhere")
    else:
        whole = {"torn": result, "newer": result, "foreign": make_result(id="0" * 32)}[place]
        content = encode(whole)
        path.write_bytes(content[:100] if place == "torn" else content)
        if place == "newer":
            path.write_bytes(content.replace(b'"schema": 1', b'"schema": 999'))
    if place != "dangling":
        with pytest.raises(StoreError):
            store.find(result.id, MACHINE)
    lenient = Store(tmp_path, is_lenient=True)
    assert lenient.find(result.id, MACHINE) is None
    said = lenient.describe_unreadable()
    assert place == "dangling" or (said and said.startswith("1 of 1 stored results unreadable: first "))
    before = path.lstat().st_ino
    assert lenient.publish(result) is result
    assert store.find(result.id, MACHINE) == result
    (aside,) = path.parent.glob("result.json.unreadable-*")
    assert aside.lstat().st_ino == before
    # From now on the first one holds.
    assert store.publish(make_result(train_s=9.0)) == result
    assert len(list(path.parent.glob("result.json.unreadable-*"))) == 1


def test_what_someone_else_published_in_between_is_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result, store = make_result(), Store(tmp_path)
    path = store.run_folder(result.id, MACHINE) / "result.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"torn")
    rename = os.rename

    def come_too_late(source: Path, target: Path) -> None:
        monkeypatch.undo()
        Store(tmp_path).publish(result)
        rename(source, target)

    monkeypatch.setattr(os, "rename", come_too_late)
    assert store.publish(make_result(train_s=9.0)) == result
    assert store.find(result.id, MACHINE) == result
    assert [path.read_bytes() for path in path.parent.glob("result.json.unreadable-*")] == [b"torn"]


def test_attempts_that_cannot_be_read_are_passed_over(tmp_path: Path) -> None:
    ended = make_result(status="failed", detail="why", val_loss=None, search_loss=None)
    store = Store(tmp_path, is_lenient=True)
    store.publish(ended)
    store.publish(ended)
    folder = store.attempt_folder(ended.id, MACHINE)
    assert folder is not None and folder.name == "2"
    (folder / "attempt.json").write_bytes(b"{")
    assert store.last_attempt(ended.id, MACHINE) == ended
    assert store.count_attempts(ended.id, MACHINE, "failed") == 1
    store.publish(ended)
    assert (folder / "attempt.json").read_bytes() == b"{"
    assert store.count_attempts(ended.id, MACHINE) == 3
    with pytest.raises(StoreError, match=r"attempt\.json: not a result record"):
        Store(tmp_path).count_attempts(ended.id, MACHINE, "failed")
