"""Whatever happens in the middle of publishing, the file is whole or not there, and the next try makes it."""

from __future__ import annotations

import contextlib
import errno
import multiprocessing
import os
import resource
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench import publish
from bench.claims import Claims
from bench.errors import StoreError
from bench.record import encode, read_record
from bench.result import Result
from bench.store import Store
from tests.commands import run_bench, start_bench
from tests.records import MACHINE, make_result
from tests.tiers import few

# All that publishing asks of the system.
CALLS = ("mkdir", "open", "write", "fsync", "close", "link", "replace", "unlink", "stat", "listdir")
DEAD, REFUSED, UNREACHED = 9, 3, 7
Places = Callable[..., Iterator[tuple[Path, int]]]
FINISHED = make_result()
FAILED = make_result(status="failed", detail="no reason", val_loss=None, search_loss=None)


def die(real: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    os._exit(DEAD)


def die_torn(real: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    with contextlib.suppress(OSError):
        if real.__name__ == "write":
            real(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
        else:
            real(*arguments, **named)
    os._exit(DEAD)


def write_short(real: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    if real.__name__ == "write":
        return real(arguments[0], bytes(arguments[1])[: max(1, len(arguments[1]) // 2)])
    return real(*arguments, **named)


def be_full(real: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def fail(real: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def publish_with(fault: Callable[..., Any], place: int, root: Path, result: Result) -> int:
    """Publish in a process of its own whose call number `place` meets a fault; return its exit code."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    code = 1
    try:
        num_calls = 0

        def disturb(real: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any, **named: Any) -> Any:
                nonlocal num_calls
                num_calls += 1
                return fault(real, *arguments, **named) if num_calls == place else real(*arguments, **named)

            return call

        publish._WAITS_S = (0.0, 0.0, 0.0)
        for name in CALLS:
            setattr(os, name, disturb(getattr(os, name)))
        Store(root).publish(result, {"learned.png": b"picture" * 100})
        code = 0 if num_calls >= place else UNREACHED
    except StoreError:
        code = REFUSED
    finally:
        os._exit(code)


def publish_each(fault: Callable[..., Any], folder: Path, result: Result, is_linkless: bool) -> list[int]:
    """Publish into new stores, with a fault at each call that this takes; return the exit codes."""
    codes: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        if is_linkless:
            patch.setattr(os, "link", refuse_link)
        while UNREACHED not in codes:
            place = len(codes) + 1
            codes.append(publish_with(fault, place, folder / str(place), result))
    return codes[:-1]


def refuse_link(*_: object) -> None:
    raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))


@pytest.fixture(scope="module")
def small() -> Iterator[ProcessPoolExecutor]:
    """Return a process that has imported next to nothing: what is forked from this one costs far more."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool


@pytest.fixture
def list_places(small: ProcessPoolExecutor, tmp_path: Path) -> Places:
    """Yield a store and an exit code for a fault at each call that publishing makes."""

    def each(
        fault: Callable[..., Any], result: Result, *, is_linkless: bool = False
    ) -> Iterator[tuple[Path, int]]:
        codes = small.submit(publish_each, fault, tmp_path, result, is_linkless).result()
        assert len(codes) >= 20
        return ((tmp_path / str(number), code) for number, code in enumerate(codes, 1))

    return each


@pytest.mark.parametrize("fault", [die, die_torn, write_short, be_full, fail])
@pytest.mark.parametrize("result", few([FINISHED, FAILED]), ids=["settled", "attempt"])
def test_a_fault_at_any_call_leaves_all_or_nothing(
    fault: Callable[..., Any], result: Result, list_places: Places
) -> None:
    codes = set()
    for root, code in list_places(fault, result):
        codes.add(code)
        store = Store(root)

        def read(store: Store = store) -> Result | None:
            return store.find(result.id, MACHINE) or store.last_attempt(result.id, MACHINE)

        # Neither of these ever raises: what is there can be read.
        assert read() in (None, result)
        if code == 0:
            assert read() == result
        store.publish(result, {"learned.png": b"picture" * 100})
        assert read() == result
        named = list(root.rglob("result.json")) + list(root.rglob("attempt.json"))
        assert named and all(path.read_bytes() == encode(result) for path in named)
        pictures = list(root.rglob("learned.png"))
        assert pictures and all(path.read_bytes() == b"picture" * 100 for path in pictures)
    wanted = {die: {DEAD}, die_torn: {DEAD}, write_short: {0}, be_full: {0, REFUSED}, fail: {0}}
    assert codes == wanted[fault]


def test_a_full_disk_leaves_no_temporary_file(list_places: Places) -> None:
    for root, code in list_places(be_full, FINISHED):
        if code == REFUSED:
            assert len(list(root.rglob(".tmp.*"))) == 0


def test_a_fault_that_stays_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publish, "_WAITS_S", (0.0, 0.0, 0.0))
    tried = []

    def refuse(*_: object) -> None:
        tried.append(1)
        raise OSError(errno.ESTALE, "Stale file handle")

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(StoreError, match=r"result\.json: Stale file handle$"):
        Store(tmp_path).publish(FINISHED)
    assert len(tried) == 4 and not list(tmp_path.rglob(".tmp.*"))


def test_the_answer_to_a_link_may_be_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link

    def lose(source: Path, target: Path) -> None:
        link(source, target)
        raise FileExistsError(errno.EEXIST, "File exists")

    monkeypatch.setattr(os, "link", lose)
    assert publish.link_new(tmp_path / "mine", b"x")
    monkeypatch.undo()
    assert not publish.link_new(tmp_path / "mine", b"y")


def test_durable_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    for name in ("write", "fsync", "link"):
        real = getattr(os, name)

        def record(*arguments: Any, _name: str = name, _real: Callable[..., Any] = real) -> Any:
            order.append(_name)
            return _real(*arguments)

        monkeypatch.setattr(os, name, record)
    assert publish.link_new(tmp_path / "mine", b"content")
    assert order == ["write", "fsync", "link", "fsync"]


def test_what_was_left_half_written_long_ago_is_taken_away(tmp_path: Path) -> None:
    old, new = tmp_path / ".tmp.1.old", tmp_path / ".tmp.2.new"
    old.touch()
    new.touch()
    os.utime(old, (1.0, 1.0))
    publish.link_new(tmp_path / "mine", b"x")
    assert not old.exists() and new.exists()


def test_a_sweep_on_a_full_disk_is_one_line_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    """A limit on the size of files stands in for the disk: a result is larger."""
    sweep = (
        "workload=digits_mlp",
        "budget=smoke",
        "seeds=2",
        "search=none",
        "meter=none",
        "report.sections=[]",
    )
    started = start_bench(*sweep, cwd=tmp_path)
    resource.prlimit(started.pid, resource.RLIMIT_FSIZE, (2048, 2048))
    done = started.wait()
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("File too large")
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob(".tmp.*")) and not list(tmp_path.rglob("result.json"))
    again = run_bench(*sweep, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "0 cached" in again.stderr


def test_a_record_of_any_size_and_kind_crosses_unchanged(tmp_path: Path) -> None:
    store = Store(tmp_path)
    long = msgspec.structs.replace(FINISHED, notes=tuple(f"note {number}" for number in range(10_000)))
    assert store.publish(long) == long == store.find(long.id, MACHINE)


def publish_linkless(root: str, train_s: float) -> float:
    """Publish where there are no hard links; return whose result it is."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "link", refuse)
        return Store(Path(root)).publish(make_result(train_s=train_s)).train_s


def test_without_hard_links_the_first_still_wins(tmp_path: Path) -> None:
    with multiprocessing.get_context("forkserver").Pool(4) as pool:
        held = pool.starmap(publish_linkless, [(str(tmp_path), float(number)) for number in range(20)])
    assert len(set(held)) == 1
    (path,) = tmp_path.rglob("result.json")
    assert read_record(path, Result).train_s == held[0]
    assert not list(tmp_path.rglob(".tmp.*"))


@pytest.mark.parametrize("fault", [die, die_torn, be_full])
def test_without_hard_links_too_a_fault_leaves_all_or_nothing(
    fault: Callable[..., Any], list_places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", refuse_link)
    for root, _ in list_places(fault, FINISHED, is_linkless=True):
        store = Store(root)
        assert store.find(FINISHED.id, MACHINE) in (None, FINISHED)
        # Whoever died holding the lock holds nothing up.
        assert store.publish(FINISHED) == FINISHED == store.find(FINISHED.id, MACHINE)


def test_claims_do_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)
    with Claims(tmp_path) as mine, Claims(tmp_path) as yours:
        assert mine.take(tmp_path / "run") and not yours.take(tmp_path / "run")
        mine.release(tmp_path / "run")
        assert yours.take(tmp_path / "run")
