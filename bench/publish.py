"""How a file gets onto the disk: whole or not at all, and once under its name whoever else writes it."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from bench.errors import FullError, StoreError

T = TypeVar("T")

# What a network's file system gives for a moment; each wait is three times the one before.
_TRANSIENT = frozenset({errno.EIO, errno.ESTALE, errno.EAGAIN, errno.ETIMEDOUT})
_WAITS_S = (0.1, 0.3, 0.9)
# What may take a user, not a moment. A limit on the size of one file is none of these: waiting won't help.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
# What a file system without hard links says of one.
_LINKLESS = frozenset({errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP})
# What nobody has finished writing by then was left by someone who died.
_STRAY_S = 3600.0


def link_new(path: Path, content: bytes) -> bool:
    """Publish a file under its final name unless one is there: temp, fsync, link; the first writer wins.

    Returns:
        Whether it is ours.

    Raises:
        StoreError: It can't be written; nothing of it is left.
    """
    return _write(path, lambda: _link(path, content))


def write_atomic(path: Path, content: bytes) -> None:
    """Replace a derived file in one step, so that no reader ever sees half of it.

    Raises:
        StoreError: It can't be written; the file that was there still is.
    """
    _write(path, lambda: replace(path, [content]))


def persist(path: Path, attempt: Callable[[], T]) -> T:
    """Return what an attempt on a path gives, tried more than once where its fault may pass.

    Raises:
        FullError: There is no room.
        StoreError: It does not pass; one line.
        FileNotFoundError: Nothing is there, which is no fault.
    """
    for wait_s in (*_WAITS_S, None):
        try:
            return attempt()
        except FileNotFoundError:
            raise
        except OSError as error:
            if error.errno in _FULL:
                raise FullError(f"{path}: {error.strerror or error}") from error
            if wait_s is None or error.errno not in _TRANSIENT:
                raise StoreError(f"{path}: {error.strerror or error}") from error
            time.sleep(wait_s)
    raise AssertionError("unreachable")


def _write(path: Path, attempt: Callable[[], T]) -> T:
    try:
        return persist(path, attempt)
    except FileNotFoundError as error:
        # Its folder was made a moment ago.
        raise StoreError(f"{path}: {error.strerror or error}") from error


def _link(path: Path, content: bytes) -> bool:
    temporary = _write_temporary(path, [content])
    try:
        name_once(temporary, path)
    except FileExistsError:
        # A network may have lost the answer to a link that was made.
        if os.stat(temporary).st_nlink < 2:
            return False
    finally:
        _remove(temporary)
    sync_folder(path.parent)
    _sweep(path.parent)
    return True


def name_once(temporary: Path, path: Path) -> None:
    """Give a whole file its name, unless another has it; the temporary one may then be there still.

    Where there are no hard links a lock stands in for them, which the system lifts when its holder dies: the
    first still wins among the processes of one host, and among hosts as far as the share passes locks on.

    Raises:
        FileExistsError: Another has it.
        OSError: It can't be done.
    """
    try:
        os.link(temporary, path)
    except OSError as error:
        if error.errno not in _LINKLESS:
            raise
        _move_once(temporary, path)


def _move_once(temporary: Path, path: Path) -> None:
    # Systems that lack it have hard links.
    import fcntl

    lock = os.open(path.parent / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
        os.replace(temporary, path)
    finally:
        os.close(lock)


def replace(path: Path, parts: Sequence[bytes | memoryview]) -> None:
    """Put a file in place at once and whole; its name is on the disk after `sync_folder`.

    Raises:
        OSError: It can't be written; the file that was there still is.
    """
    temporary = _write_temporary(path, parts)
    try:
        os.replace(temporary, path)
    except OSError:
        _remove(temporary)
        raise


def _write_temporary(path: Path, parts: Sequence[bytes | memoryview]) -> Path:
    temporary = path.parent / f".tmp.{path.name}.{os.getpid()}.{secrets.token_hex(4)}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            for part in parts:
                left = memoryview(part)
                while left:
                    left = left[os.write(descriptor, left) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError:
        _remove(temporary)
        raise
    return temporary


def _remove(path: Path) -> None:
    # Where the folder is a file, or the disk is gone, even this fails.
    with contextlib.suppress(OSError):
        os.unlink(path)


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk, too, where that can be asked for."""
    # Some file systems refuse to open a folder; what was put there is already whole.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _sweep(folder: Path) -> None:
    """Take away what was left half written, long ago."""
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            if name.startswith(".tmp.") and time.time() - os.stat(folder / name).st_mtime > _STRAY_S:
                os.unlink(folder / name)
