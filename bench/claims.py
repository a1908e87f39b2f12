"""One owner for each run among all processes and machines that share a store, without a lock or a clock."""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from bench import owner
from bench.errors import StoreError
from bench.publish import name_once, persist

# An owner shows that it lives by counting on; who sees it stand still for so long takes over.
BEAT_S = 5.0
DEATH_S = 30.0
_FOLDER = ".owners"


class _Claim(msgspec.Struct):
    token: str
    # What `owner.myself()` says.
    who: dict[str, Any]


class Claims:
    """The claims of one sweep's process on what it does.

    A claim is a file beside the result, numbered; the first to link the next number has it. It holds while
    its owner lives: on this host that is asked of the system, of any other host its counter is watched. The
    highest number counts. A claim decides who works, never what holds: results are published once whoever
    made them. A context manager: leaving it gives up what is still claimed.

    Args:
        root: Folder of the store.
        beat_s: Seconds between two counts.
        death_s: Seconds of standing still that count as death.
    """

    def __init__(self, root: Path, beat_s: float = BEAT_S, death_s: float = DEATH_S) -> None:
        self._token = secrets.token_hex(16)
        self._claim = msgspec.json.encode(_Claim(self._token, owner.myself()))
        self._folder = root / _FOLDER
        self._beat_s = beat_s
        self._death_s = death_s
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        # Token -> its newest count, and when that was first seen.
        self._seen: dict[str, tuple[bytes | None, float]] = {}
        # What is claimed, and under which number.
        self._held: dict[Path, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        if self._thread.is_alive():
            self._thread.join()
        for folder in list(self._held):
            self.release(folder)
        with contextlib.suppress(OSError):
            (self._folder / self._token).unlink(missing_ok=True)
            self._folder.rmdir()

    def take(self, folder: Path) -> bool:
        """Claim what is done in a folder; return whether it is ours.

        Raises:
            FullError: There is no room for a claim.
            StoreError: Nothing can be written there.
        """
        if folder in self._held:
            return True
        if self._thread.ident is None:
            # Not before something is claimed: who finds everything done leaves no trace.
            persist(self._folder, lambda: self._count(0))
            self._sweep()
            self._thread.start()
        try:
            persist(folder, lambda: folder.mkdir(parents=True, exist_ok=True))
            number = persist(folder, lambda: self._claim_next(folder))
        except FileNotFoundError as error:
            raise StoreError(f"{folder}: can't be claimed: {error.strerror or error}") from error
        if number is not None:
            self._held[folder] = number
        return number is not None

    def release(self, folder: Path) -> None:
        """Give up a claim of ours, and take away those that it took over."""
        mine = self._held.pop(folder)
        with contextlib.suppress(OSError):
            for number in _numbers(folder):
                # A later one belongs to who took this over, thinking that we had died.
                if number <= mine:
                    (folder / f"claim.{number}").unlink(missing_ok=True)

    def _claim_next(self, folder: Path) -> int | None:
        """Return the number of our claim; None: somebody else has one that holds."""
        number = max(_numbers(folder), default=0)
        if number and not self._is_dead(folder / f"claim.{number}"):
            return None
        try:
            self._link(folder, number + 1)
        except FileExistsError:
            return None
        return number + 1

    def _link(self, folder: Path, number: int) -> None:
        temporary = folder / f".tmp.claim.{os.getpid()}.{secrets.token_hex(4)}"
        try:
            # Not synced: what a power cut loses had an owner that is gone as well.
            temporary.write_bytes(self._claim)
            name_once(temporary, folder / f"claim.{number}")
        finally:
            temporary.unlink(missing_ok=True)

    def _is_dead(self, path: Path) -> bool:
        """Return whether a claim's owner is gone, as far as can be told from here."""
        try:
            claim = msgspec.json.decode(path.read_bytes(), type=_Claim)
        except FileNotFoundError:
            # Released this moment; the next look finds out what that means.
            return False
        except (msgspec.DecodeError, UnicodeDecodeError):
            claim = _Claim(str(path), {})
        if claim.token == self._token:
            return False
        if owner.is_here(claim.who) and not owner.is_alive(claim.who):
            return True
        try:
            count = (self._folder / claim.token).read_bytes()
        except OSError:
            count = None
        now = time.monotonic()
        before, since = self._seen.get(claim.token, (b"never seen", now))
        if before != count:
            self._seen[claim.token] = count, now
            return False
        return now - since > self._death_s

    def _beat(self) -> None:
        count = 0
        while not self._is_over.wait(self._beat_s):
            count += 1
            with contextlib.suppress(OSError):
                self._count(count)

    def _count(self, count: int) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        temporary = self._folder / f".tmp.{self._token}"
        try:
            temporary.write_bytes(b"%d\n" % count + self._claim)
            os.replace(temporary, self._folder / self._token)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise

    def _sweep(self) -> None:
        """Take away what dead processes of this host left."""
        with contextlib.suppress(OSError):
            for path in self._folder.iterdir():
                with contextlib.suppress(OSError, msgspec.DecodeError, UnicodeDecodeError):
                    claim = msgspec.json.decode(path.read_bytes().partition(b"\n")[2], type=_Claim)
                    if owner.is_here(claim.who) and not owner.is_alive(claim.who):
                        path.unlink(missing_ok=True)


def _numbers(folder: Path) -> list[int]:
    names = [name.removeprefix("claim.") for name in os.listdir(folder) if name.startswith("claim.")]
    return [int(name) for name in names if name.isdigit()]
