"""Where a search is kept: a journal file that survives a torn end, or a database that many hosts share."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import optuna
from optuna.storages import BaseStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock, JournalStorage

from bench.errors import SpecError, StoreError

# A lock is broken when its journal has not moved for so long: who resumes a killed search may wait for it.
LOCK_GRACE_S = 10
# Two processes that create the tables of a new database in the same moment: one of them fails, once.
OPEN_ATTEMPTS = 3
# Else a host that drops packets is waited for as long as TCP does: two minutes.
CONNECT_TIMEOUT_S = 10

# It logs to stderr, where our own lines are; what it warns of is handled where it happens.
optuna.logging.disable_default_handler()
optuna.logging.set_verbosity(optuna.logging.CRITICAL)

_PASSWORD = re.compile(r"(?<=://)(?P<user>[^/@:]*):(?P<password>.*)(?=@)")
_OPTION = re.compile(r"(?P<name>[?&]\w*pass\w*=)(?P<password>[^&]*)", re.IGNORECASE)


def open_trials(url: str | None, journal: Path, name: str) -> optuna.Study:
    """Open a search, or create it.

    Args:
        url: A database that SQLAlchemy understands, as `search.storage` gives it; None: the journal.
        journal: File to keep the search in, beside others; its folder is made.
        name: What the search is called there.

    Raises:
        SpecError: The database can't be opened; without its password.
        StoreError: The journal can't be opened.
    """
    if url is None:
        try:
            journal.parent.mkdir(parents=True, exist_ok=True)
            return _load(open_journal(journal), name)
        except (OSError, ValueError) as error:
            raise StoreError(f"{journal}: can't open the search's journal: {error}") from None
    for attempt in range(1, OPEN_ATTEMPTS + 1):
        try:
            return _load(_open_database(url), name)
        # SQLAlchemy, Optuna and the driver have each a tree of their own.
        except Exception as error:
            reason = _first_line(error)
            if attempt == OPEN_ATTEMPTS or isinstance(error, ImportError) or "parse" in reason:
                place = f"search.storage: can't open {hide_password(url)}"
                raise SpecError(f"{place}: {_without_passwords(reason, url)}") from None
            time.sleep(0.2 * attempt)
    raise AssertionError("unreachable")


def open_journal(path: Path) -> JournalStorage:
    """Open a journal file whose end is cut back to its last whole line before anything is added."""
    # Absolute: the lock is a link to the journal, and one whose target isn't found is never seen to be stale.
    path = path.resolve()
    lock = _TrimmingLock(path)
    backend = _Journal(path, lock)
    # Reading comes before the first writing, and takes no lock of its own.
    lock.acquire()
    lock.release()
    return JournalStorage(backend)


def hide_password(url: str) -> str:
    """Return a database URL without its password, wherever it stands, also when the URL is malformed."""
    return _OPTION.sub(r"\g<name>***", _PASSWORD.sub(r"\g<user>:***", url))


class _Journal(JournalFileBackend):
    """Optuna's own file; what can't be written to it is one line."""

    def __init__(self, path: Path, lock: _TrimmingLock) -> None:
        super().__init__(str(path), lock_obj=lock)
        self._place = path

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        try:
            super().append_logs(logs)
        except OSError as error:
            # What was tried is in the store: the same command goes on without what is lost here.
            raise StoreError(f"{self._place}: {error.strerror or error}") from error


class _TrimmingLock(JournalFileSymlinkLock):
    """Optuna's own lock, which also mends what a process that died while writing has left.

    Optuna would append to the torn line, and from then on nobody could read the file. Every writer holds this
    lock, so under it an unfinished line has no one who would finish it.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), grace_period=LOCK_GRACE_S)
        self._path = path

    def acquire(self) -> bool:
        is_acquired = super().acquire()
        with self._path.open("rb+") as file:
            size = file.seek(0, 2)
            keep = size
            # Backwards in pieces: a journal may be long, its last line is not.
            while keep > 0:
                start = max(0, keep - 4096)
                file.seek(start)
                newline = file.read(keep - start).rfind(b"\n")
                if newline >= 0:
                    keep = start + newline + 1
                    break
                keep = start
            if keep < size:
                file.truncate(keep)
        return is_acquired


def _load(storage: BaseStorage, name: str) -> optuna.Study:
    return optuna.create_study(storage=storage, study_name=name, direction="minimize", load_if_exists=True)


def _open_database(url: str) -> RDBStorage:
    # It takes a quarter of a second to import, which a journal does not need.
    from sqlalchemy.pool import NullPool

    # A connection a question, none while a model trains: a server has about 100, a sweep a thousand cells.
    engine: dict[str, object] = {"poolclass": NullPool}
    if url.startswith(("postgresql", "mysql")) and "connect_timeout" not in url:
        engine["connect_args"] = {"connect_timeout": CONNECT_TIMEOUT_S}
    return RDBStorage(url, engine_kwargs=engine)


def _first_line(error: BaseException) -> str:
    # Optuna wraps what SQLAlchemy says, which wraps what the driver says: the innermost is the reason.
    while error.__cause__ is not None:
        error = error.__cause__
    return (str(error) or type(error).__name__).strip().splitlines()[0]


def _without_passwords(text: str, url: str) -> str:
    found = [match["password"] for pattern in (_PASSWORD, _OPTION) for match in pattern.finditer(url)]
    for password in sorted(
        {form for one in found for form in (one, unquote(one)) if form}, key=len, reverse=True
    ):
        text = text.replace(password, "***")
    return text
