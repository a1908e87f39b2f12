"""What is saved of a run is whole or not there: damage, kills, full disks and foreign files included."""

from __future__ import annotations

import errno
import hashlib
import json
import multiprocessing
import os
import pickle
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.checkpoint import Checkpoints
from bench.train import train
from tests.records import MACHINE, make_run

OWNER = {"run": "0" * 32, "torch": "2.13.0", "threads": 1}
NAMES = {"checkpoint-a", "checkpoint-b"}


def make_state(step: int) -> dict[str, Any]:
    stream = torch.Generator().manual_seed(step)
    return {"step": step, "weights": torch.randn(300, generator=stream), "curve": [0.5, None, step / 3]}


def read_step(folder: Path) -> int | None:
    """Return the step that a new process would go on from, its state being what was saved there."""
    state = Checkpoints(folder, 1e9).load(OWNER, "cpu")
    if state is None:
        return None
    expected = make_state(state["step"])
    assert torch.equal(state.pop("weights"), expected.pop("weights")) and state == expected
    return int(state["step"])


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A folder with generations 1 (in checkpoint-a) and 2 (in checkpoint-b)."""
    keep = Checkpoints(tmp_path, 1e9)
    assert keep.save(OWNER, 1, make_state(1)) and keep.save(OWNER, 2, make_state(2))
    return tmp_path


def test_there_are_two_generations_and_the_newer_one_is_used(saved: Path) -> None:
    assert {entry.name for entry in saved.iterdir()} == NAMES
    assert read_step(saved) == 2
    keep = Checkpoints(saved, 1e9)
    keep.load(OWNER, "cpu")
    before = (saved / "checkpoint-b").read_bytes()
    assert keep.save(OWNER, 3, make_state(3))
    assert (saved / "checkpoint-b").read_bytes() == before
    assert read_step(saved) == 3
    keep.remove()
    assert not list(saved.iterdir()) and read_step(saved) is None


def test_every_flipped_bit_is_noticed_and_the_older_generation_used(saved: Path) -> None:
    path = saved / "checkpoint-b"
    content = path.read_bytes()
    stream = random.Random(0)
    # The first bytes are the digest itself and the header.
    places = [*range(0, 8 * 200, 23), *(stream.randrange(8 * len(content)) for _ in range(300))]
    for place in places:
        damaged = bytearray(content)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(damaged)
        keep = Checkpoints(saved, 1e9)
        state = keep.load(OWNER, "cpu")
        assert state is not None and state["step"] == 1, place
        assert keep.notes == ["checkpoint-b not used: it is damaged"]


def test_every_truncation_is_noticed(saved: Path) -> None:
    path = saved / "checkpoint-b"
    content = path.read_bytes()
    for length in [*range(0, 300), *range(300, len(content), 37), len(content) - 1]:
        path.write_bytes(content[:length])
        assert read_step(saved) == 1, length


def test_damage_to_both_starts_over_and_says_so(saved: Path) -> None:
    for name in NAMES:
        (saved / name).write_bytes(b"")
    keep = Checkpoints(saved, 1e9)
    assert keep.load(OWNER, "cpu") is None
    assert len(keep.notes) == 2
    # What is damaged is in nobody's way.
    assert keep.save(OWNER, 5, make_state(5)) and read_step(saved) == 5


@pytest.mark.parametrize("change", [{"run": "1" * 32}, {"torch": "2.14.0"}, {"threads": 2}, {"device": "x"}])
def test_another_owner_starts_over_and_says_so(saved: Path, change: dict[str, str | int]) -> None:
    keep = Checkpoints(saved, 1e9)
    assert keep.load({**OWNER, **change}, "cpu") is None
    (name,) = change
    assert len(keep.notes) == 2 and all(f"its {name} is " in note for note in keep.notes)


class Payload:
    """Would make a folder, were it ever loaded."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, (str(self.folder),)


def test_reading_executes_nothing(saved: Path, tmp_path: Path) -> None:
    made = tmp_path / "executed"
    torch.save({"step": 9, "weights": Payload(made)}, tmp_path / "hostile")
    for body in ((tmp_path / "hostile").read_bytes(), pickle.dumps(Payload(made), protocol=2)):
        rest = json.dumps({**OWNER, "format": 1, "step": 9}).encode() + b"\n" + body
        path = saved / "checkpoint-b"
        path.write_bytes(hashlib.sha256(rest).hexdigest().encode() + b"\n" + rest)
        keep = Checkpoints(saved, 1e9)
        state = keep.load(OWNER, "cpu")
        assert state is not None and state["step"] == 1
        assert keep.notes[0].startswith("checkpoint-b not used: UnpicklingError")
    assert not made.exists()


class Died(BaseException):
    """Stands for the end of the process: nothing that follows has an effect."""


class FaultyDisk:
    """Counts system calls, and does to one of them what a bad day does."""

    CALLS = ("open", "write", "fsync", "close", "replace", "unlink", "mkdir")

    def __init__(self, monkeypatch: pytest.MonkeyPatch, number: int, fault: str) -> None:
        self.number, self.fault = number, fault
        self.log: list[str] = []
        self.is_dead = False
        for name in self.CALLS:
            monkeypatch.setattr(os, name, self._wrap(name, getattr(os, name)))

    def _wrap(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def called(*args: Any, **options: Any) -> Any:
            if self.is_dead:
                raise Died
            self.log.append(name)
            if len(self.log) != self.number:
                return call(*args, **options)
            if self.fault == "short":
                return call(args[0], args[1][: len(args[1]) // 2]) if name == "write" else call(*args)
            if self.fault in ("die", "torn"):
                if self.fault == "torn":
                    # It comes so far, half of it where there are halves, and then the process ends.
                    call(*((args[0], args[1][: len(args[1]) // 2]) if name == "write" else args), **options)
                self.is_dead = True
                raise Died
            if name == "close":
                call(*args)
            raise OSError(getattr(errno, self.fault), os.strerror(getattr(errno, self.fault)))

        return called


def count_calls(folder: Path) -> int:
    with pytest.MonkeyPatch.context() as patch:
        disk = FaultyDisk(patch, 0, "die")
        keep = Checkpoints(folder, 1e9)
        keep.load(OWNER, "cpu")
        assert keep.save(OWNER, 3, make_state(3))
    assert disk.log.count("fsync") == 2 and disk.log.index("fsync") < disk.log.index("replace")
    return len(disk.log)


@pytest.mark.parametrize("fault", ["die", "torn", "short", "ENOSPC", "EIO"])
def test_no_fault_at_any_system_call_tears_a_save(tmp_path: Path, fault: str) -> None:
    num_calls, number, num_kept = 1, 0, 0
    while number < num_calls:
        number += 1
        folder = tmp_path / str(number)
        keep = Checkpoints(folder, 1e9)
        assert keep.save(OWNER, 1, make_state(1)) and keep.save(OWNER, 2, make_state(2))
        if number == 1:
            num_calls = count_calls(folder)
            keep.remove()
            assert keep.save(OWNER, 1, make_state(1)) and keep.save(OWNER, 2, make_state(2))
        is_saved = False
        with pytest.MonkeyPatch.context() as patch:
            FaultyDisk(patch, number, fault)
            again = Checkpoints(folder, 1e9)
            try:
                assert again.load(OWNER, "cpu")
                is_saved = again.save(OWNER, 3, make_state(3))
            except Died:
                pass
            if fault not in ("die", "torn"):
                assert is_saved == (not again.notes)
        step = read_step(folder)
        num_kept += step == 3
        assert step == 3 if is_saved else step in (2, 3)
        # Nothing that is left stays, or stands in the way.
        assert {entry.name for entry in folder.iterdir()} <= NAMES
        last = Checkpoints(folder, 1e9)
        last.load(OWNER, "cpu")
        assert last.save(OWNER, 4, make_state(4)) and read_step(folder) == 4
    assert num_calls >= 8 and (num_kept == num_calls) == (fault == "short")


def save_without_end(folder: Path, said: Path) -> None:
    keep = Checkpoints(folder, 0)
    start = keep.load(OWNER, "cpu")
    for step in range(1 + (start["step"] if start else 0), 10**6):
        assert keep.save(OWNER, step, make_state(step))
        said.write_text(f"{step} ")


@pytest.mark.parametrize("num_kills", [8, pytest.param(100, marks=pytest.mark.slow)])
def test_a_kill_costs_at_most_the_save_it_hits(tmp_path: Path, num_kills: int) -> None:
    stream = random.Random(1)
    context = multiprocessing.get_context("forkserver")
    said, newest = tmp_path / "said", 0
    for _ in range(num_kills):
        process = context.Process(target=save_without_end, args=(tmp_path / "run", said))
        said.unlink(missing_ok=True)
        process.start()
        deadline = time.monotonic() + 60
        while not said.exists() and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(stream.uniform(0, 0.05))
        process.kill()
        process.join()
        words = said.read_text().split(" ")
        step = read_step(tmp_path / "run")
        assert step is not None and step >= max([newest, *(int(word) for word in words[:-1])])
        newest = step
    assert newest > num_kills


@pytest.fixture
def _full_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def refuse(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("bench.checkpoint.os.write", refuse)
    yield


@pytest.mark.usefixtures("_full_disk")
def test_a_full_disk_ends_no_run(tmp_path: Path) -> None:
    run = make_run()
    result, _ = train(run, MACHINE, Checkpoints(tmp_path, 0))
    assert result.status == "finished"
    assert result.notes == ("no checkpoint could be written: No space left on device",)
    assert result.val_loss == train(run, MACHINE)[0].val_loss
    assert not list(tmp_path.iterdir())


def test_short_runs_save_nothing_and_slow_saves_come_less_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("bench.checkpoint.time.monotonic", lambda: now[0])
    keep = Checkpoints(tmp_path, 30.0)
    now[0] = 29.9
    assert not keep.is_due()
    now[0] = 30.0
    assert keep.is_due()

    def sync(_: int) -> None:
        now[0] += 2.0

    monkeypatch.setattr("bench.checkpoint.os.fsync", sync)
    assert keep.save(OWNER, 1, make_state(1))
    # Two syncs of two seconds: a twentieth of eighty.
    now[0] = 34.0 + 79.9
    assert not keep.is_due()
    now[0] += 0.2
    assert keep.is_due()
