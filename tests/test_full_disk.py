"""A full disk ends nothing: the sweep waits, says so once, and what it had is there when there is room."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import outbox as boxes
from bench import publish
from bench.errors import FullError, StoreError
from bench.outbox import Outbox, Room
from bench.search.trials import open_trials
from bench.slot import End
from bench.stopping import Stopped
from bench.store import Store
from tests.commands import read_sweep, start_bench
from tests.records import MACHINE, make_result

SWEEP = (
    "workload=digits_mlp", "budget=smoke", "seeds=2", "search=none", "meter=none", "report.sections=[]",
)  # fmt: skip
RESULT = make_result()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of half a megabyte; only the superuser of some machines can have one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)]
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("wants to mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> Path:
    path = folder / "filler"
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError as error:
            assert error.errno == errno.ENOSPC
    return path


def list_half_written(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and ".tmp." in path.name]


def test_a_sweep_waits_for_room_and_goes_on(small_disk: Path, tmp_path: Path) -> None:
    filler = fill(small_disk)
    # Some room: for claims, and for a result or none.
    os.truncate(filler, filler.stat().st_size - 5 * 4096)
    started = start_bench(*SWEEP, f"place.results={small_disk}", cwd=tmp_path)
    started.wait_for("waiting for room on the disk")
    assert not list_half_written(small_disk)
    filler.unlink()
    done = started.wait()
    assert done.returncode == 0, done.stderr
    assert "Ctrl-C leaves, the same command resumes" in done.stderr and "Traceback" not in done.stderr
    assert done.stderr.count("waiting for room") == 1 == done.stderr.count("there is room again")
    ((first, second),) = read_sweep(small_disk).results
    assert first.status == second.status == "finished"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 75)])
def test_who_waits_for_room_can_leave(
    number: signal.Signals, code: int, small_disk: Path, tmp_path: Path
) -> None:
    fill(small_disk)
    started = start_bench(*SWEEP, f"place.results={small_disk}", cwd=tmp_path)
    started.wait_for("waiting for room on the disk")
    started.send_signal(number)
    done = started.wait()
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr and "interrupted: " in done.stderr
    assert not list_half_written(small_disk) and not list(small_disk.rglob("result.json"))


class Disk:
    """Refuses to write while it is full."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, number: int = errno.ENOSPC) -> None:
        self.is_full = True
        real = os.write

        def write(descriptor: int, content: bytes) -> int:
            if self.is_full:
                raise OSError(number, os.strerror(number))
            return real(descriptor, content)

        monkeypatch.setattr(publish.os, "write", write)
        monkeypatch.setattr(boxes, "LOOK_S", 0.0)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_what_a_run_came_to_is_kept_until_there_is_room(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, store, said = Disk(monkeypatch, number), Store(tmp_path), list[str]()
    space = Room(tmp_path, lambda: False, said.append)
    outbox = Outbox(store, space, lambda: False, said.append)
    other = make_result(run=RESULT.run, id="0" * 32)
    outbox.add([End(4, RESULT, {"log.txt": b"log"}), End(5, other, {})])
    for _ in range(3):
        assert not list(outbox.send()) and outbox
    assert [line.split(":")[0] for line in said] == ["waiting for room on the disk"]
    assert not list_half_written(tmp_path) and store.find(RESULT.id, MACHINE) is None
    disk.is_full = False
    assert list(outbox.send()) == [(4, RESULT), (5, other)] and not outbox
    assert store.find(RESULT.id, MACHINE) == RESULT
    assert said[1].startswith("there is room again") and len(said) == 2


def test_what_finds_no_room_is_given_up_by_who_has_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Disk(monkeypatch)
    said: list[str] = []
    space = Room(tmp_path, lambda: True, said.append)
    outbox = Outbox(Store(tmp_path), space, lambda: True, said.append)
    outbox.add([End(4, RESULT, {})])
    assert list(outbox.send()) == [(4, RESULT)] and not outbox
    assert said[0].startswith("not kept: ") and said[0].endswith("No space left on device")
    with pytest.raises(Stopped):
        space.keep(lambda: publish.link_new(tmp_path / "mine", b"x"))


def test_a_limit_on_the_size_of_a_file_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Disk(monkeypatch, errno.EFBIG)
    with pytest.raises(StoreError, match="File too large") as caught:
        publish.link_new(tmp_path / "mine", b"x")
    assert not isinstance(caught.value, FullError)


def test_a_journal_without_room_is_one_line_and_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = tmp_path / "studies" / "one.journal"
    open_trials(None, journal, "one").ask()

    def be_full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    study = open_trials(None, journal, "one")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", be_full)
        with pytest.raises(StoreError, match=r"No space left on device$") as caught:
            study.ask()
    assert str(caught.value).startswith(str(journal))
    assert open_trials(None, journal, "one").ask().number >= 1
