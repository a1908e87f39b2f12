"""A journal is mended at its end only; a database that can't be opened is one line without secrets."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import pytest
from optuna.storages.journal import JournalFileSymlinkLock

from bench.errors import SpecError, StoreError
from bench.search.trials import hide_password, open_journal, open_trials
from tests.search.searching import finish, make_search, make_searcher, start


def test_a_torn_end_is_cut_back_at_every_offset(tmp_path: Path) -> None:
    whole = tmp_path / "whole.journal"
    finish(make_searcher(whole, trials=3))
    text = whole.read_bytes()
    last = text.rindex(b"\n", 0, -1) + 1
    assert len(text) - last > 80
    for cut in range(last, len(text) + 1):
        journal = tmp_path / "cut.journal"
        journal.write_bytes(text[:cut])
        open_journal(journal)
        assert journal.read_bytes() == (text if cut == len(text) else text[:last]), cut
    # What was torn off here is the last value: only that one is missing.
    journal.write_bytes(text[: last + 40])
    mended = make_searcher(journal, trials=3)
    assert mended.trials() == make_searcher(whole, trials=3).trials()[:2]


def test_a_line_longer_than_a_piece_is_cut_whole(tmp_path: Path) -> None:
    journal = tmp_path / "x.journal"
    finish(make_searcher(journal, trials=2))
    text = journal.read_bytes()
    for torn in (b"x", b"x" * 4095, b"x" * 4096, b"x" * 9000):
        journal.write_bytes(text + torn)
        open_journal(journal)
        assert journal.read_bytes() == text
    journal.write_bytes(b"x" * 5000)
    open_journal(journal)
    assert journal.read_bytes() == b""


def test_nothing_is_cut_while_another_writes(tmp_path: Path) -> None:
    journal = tmp_path / "x.journal"
    finish(make_searcher(journal, trials=2))
    journal.write_bytes(journal.read_bytes() + b'{"op_code"')
    torn = journal.read_bytes()
    lock = JournalFileSymlinkLock(str(journal))
    lock.acquire()
    waiting = start(journal, make_search(trials=2))
    waiting.join(1)
    assert waiting.exitcode is None, "it waits for the lock"
    assert journal.read_bytes() == torn
    lock.release()
    waiting.join(30)
    assert waiting.exitcode == 0
    assert b'{"op_code"{' not in journal.read_bytes()


def test_a_journal_that_cant_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"^\S+/file/x\.journal: can't open the search's journal: "):
        open_trials(None, tmp_path / "file" / "x.journal", "x")
    (tmp_path / "x.journal").write_text("no JSON\nat all\n")
    with pytest.raises(StoreError, match=r"^\S+/x\.journal: can't open the search's journal: "):
        open_trials(None, tmp_path / "x.journal", "x")


def test_a_database_file_will_do(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/x.db"
    searcher = make_searcher(tmp_path / "unused.journal", "tpe", storage=url)
    finish(searcher)
    assert make_searcher(tmp_path / "unused.journal", "tpe", storage=url).trials() == searcher.trials()
    journal = make_searcher(tmp_path / "x.journal", "tpe")
    finish(journal)
    assert journal.trials() == searcher.trials(), "where it is kept changes nothing"
    assert not (tmp_path / "unused.journal").exists()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:s3cret@db/x", "postgresql://me:***@db/x"),
        ("postgresql+psycopg://me:s3c@r/et@db:5432/x", "postgresql+psycopg://me:***@db:5432/x"),
        ("mysql://db/x?user=me&password=s3cret&ssl=1", "mysql://db/x?user=me&password=***&ssl=1"),
        ("postgresql://me@db/x?sslpassword=s3cret", "postgresql://me@db/x?sslpassword=***"),
        ("postgresql://:s3cret@/x", "postgresql://:***@/x"),
        ("sqlite:////tmp/a@b.db", "sqlite:////tmp/a@b.db"),
        ("postgresql://me@db/x", "postgresql://me@db/x"),
    ],
)
def test_a_password_is_never_shown(url: str, shown: str) -> None:
    assert hide_password(url) == shown


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", "can't open nonsense: "),
        ("nonsense://me:s3cret@db/x", r"can't open nonsense://me:\*\*\*@db/x: "),
        ("postgresql://me:s3cret@db:port/x", r"can't open postgresql://me:\*\*\*@db:port/x: "),
        ("sqlite:////no/such/folder/x.db", "can't open sqlite:////no/such/folder/x.db: unable to open"),
        ("postgresql+nodriver://me:s3cret@127.0.0.1:1/x", r"can't open postgresql\+nodriver://me:\*\*\*@127"),
    ],
)
def test_a_database_that_cant_be_opened_is_one_line(tmp_path: Path, url: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        open_trials(url, tmp_path / "x.journal", "x")
    text = str(caught.value)
    assert re.match(rf"search\.storage: {message}.", text), text
    assert "s3cret" not in text
    assert "\n" not in text
    assert caught.value.__suppress_context__, "a traceback would print what is left out here"


def test_the_lock_of_a_dead_writer_is_taken_over_under_a_relative_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    journal = Path("studies") / "one.journal"
    journal.parent.mkdir()
    # A process that was killed while it wrote leaves its lock behind.
    open_journal(journal)._backend._lock.acquire()  # type: ignore[attr-defined]
    monkeypatch.setattr("bench.search.trials.LOCK_GRACE_S", 3)
    opened = threading.Thread(target=open_journal, args=(journal,), daemon=True)
    opened.start()
    opened.join(timeout=20)
    assert not opened.is_alive()
