"""A run's state on disk, so that what ends its process costs it no more than some seconds of training."""

from __future__ import annotations

import contextlib
import hashlib
import io
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from bench import publish

# Raised when a change of ours makes what is in a file another thing.
FORMAT = 1
# Of a run's time, the most that saving may take: where one save is slow, the next comes later.
MAX_SHARE = 0.05
_NAMES = ("checkpoint-a", "checkpoint-b")
# What a save was made by, and for: another of any of these would go on with other bits.
Owner = Mapping[str, str | int]


class Checkpoints:
    """Two generations of one run's state in its folder: the newer one, and the one before it.

    A save replaces the older file, at once and whole, and leaves the newer one alone, so at any moment one
    that was saved completely is there. torch does not notice damage: each file begins with the SHA-256 of
    the rest, which is checked before anything of it is read. Only tensors and plain values are in it.

    Attributes:
        notes: What whoever reads the run's result should know of its checkpoints, a line each.

    Args:
        folder: The run's own, on this kind of machine; made when something is first saved.
        every_s: Seconds of training between two saves, at the least; 0: one after each step.
    """

    def __init__(self, folder: Path, every_s: float) -> None:
        self.folder = folder
        self.notes: list[str] = []
        self._every_s = every_s
        self._wait_s = every_s
        self._last = time.monotonic()
        # The file that the next save replaces.
        self._next = 0

    def is_due(self) -> bool:
        """Return whether it is time for another save."""
        return time.monotonic() - self._last >= self._wait_s

    def save(self, owner: Owner, step: int, state: dict[str, Any]) -> bool:
        """Replace the older generation; a disk that refuses costs a note, and the run goes on.

        Args:
            owner: What the state belongs to.
            step: Steps taken.
            state: Tensors and plain values.

        Returns:
            Whether it is on disk.
        """
        start = time.monotonic()
        try:
            publish.replace(self.folder / _NAMES[self._next], _encode(owner, step, state))
            # Should the name be lost all the same, the other generation is there.
            publish.sync_folder(self.folder)
            self._next = 1 - self._next
            return True
        except (OSError, MemoryError) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            self.note(f"no checkpoint could be written: {reason}")
            return False
        finally:
            self._last = time.monotonic()
            self._wait_s = max(self._every_s, (self._last - start) / MAX_SHARE) if self._every_s else 0.0

    def load(self, owner: Owner, device: str) -> dict[str, Any] | None:
        """Return the newest state that is whole and belongs to this owner, or None.

        Args:
            owner: As it was saved with.
            device: Kind of device that tensors which were not on the CPU go to.
        """
        self._sweep()
        found: list[tuple[int, int, memoryview]] = []
        for number, name in enumerate(_NAMES):
            try:
                step, state = _open(memoryview((self.folder / name).read_bytes()), owner)
                found.append((step, number, state))
            except FileNotFoundError:
                continue
            except OSError as error:
                self.note(f"{name} not used: {error.strerror or error}")
            except _Unusable as error:
                self.note(f"{name} not used: {error}")
        for _, number, state in sorted(found, reverse=True, key=lambda one: one[:2]):
            try:
                decoded = decode_state(state, device)
            except Exception as error:
                # Whole and ours, and refused all the same: what torch raises is not told beforehand.
                reason = " ".join(str(error).split())[:200]
                self.note(f"{_NAMES[number]} not used: {type(error).__name__}: {reason}")
                continue
            self._next = 1 - number
            return decoded
        return None

    def remove(self) -> None:
        """Take the files away, for who has published what the run came to."""
        for name in _NAMES:
            with contextlib.suppress(OSError):
                (self.folder / name).unlink(missing_ok=True)
        self._sweep()

    def _sweep(self) -> None:
        """Take away what a process left that ended while it wrote."""
        with contextlib.suppress(OSError):
            for name in os.listdir(self.folder):
                if name.startswith(".tmp.checkpoint-"):
                    (self.folder / name).unlink(missing_ok=True)

    def give_up(self, line: str) -> None:
        """Save nothing of this run, and say why."""
        self.note(line)
        self._wait_s = math.inf

    def note(self, line: str) -> None:
        """Add a line, once."""
        if line not in self.notes:
            self.notes.append(line)


class _Unusable(Exception):
    """A file that holds no state of ours; says why."""


def encode_state(state: dict[str, Any]) -> memoryview:
    """Return tensors and plain values as bytes."""
    # Imported where it is needed: who only takes files away does without.
    import torch

    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getbuffer()


def decode_state(content: bytes | memoryview, device: str) -> dict[str, Any]:
    """Return what `encode_state` was given; nothing in it is executed.

    Args:
        content: As it was encoded.
        device: Kind of device that tensors which were not on the CPU go to.
    """
    import torch
    from torch.serialization import default_restore_location

    def place(storage: Any, location: str) -> Any:
        # Which of several GPUs it was says nothing: another process may have numbered them otherwise.
        if location == "cpu":
            return storage
        return default_restore_location(storage, device)  # type: ignore[no-untyped-call]

    loaded: dict[str, Any] = torch.load(io.BytesIO(content), map_location=place, weights_only=True)
    return loaded


def _encode(owner: Owner, step: int, state: dict[str, Any]) -> list[bytes | memoryview]:
    content = encode_state(state)
    header = msgspec.json.encode({**owner, "format": FORMAT, "step": step}) + b"\n"
    return [_seal(header, content), header, content]


def _seal(header: bytes | memoryview = b"", state: bytes | memoryview = b"") -> bytes:
    digest = hashlib.sha256(header)
    digest.update(state)
    return digest.hexdigest().encode() + b"\n"


def _open(content: memoryview, owner: Owner) -> tuple[int, memoryview]:
    """Return a file's step and its state, still encoded; every byte of it is as it was written."""
    length = len(_seal())
    if content[:length] != _seal(content[length:]):
        raise _Unusable("it is damaged")
    rest = content[length:]
    end = bytes(rest[:4096]).index(b"\n") + 1
    header = msgspec.json.decode(rest[:end], type=dict[str, Any])
    for name, wanted in {**owner, "format": FORMAT}.items():
        if header.get(name) != wanted:
            raise _Unusable(f"its {name} is {header.get(name)!r}, wants {wanted!r}")
    return header["step"], rest[end:]
