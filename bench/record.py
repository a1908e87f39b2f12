"""One record in one file: written so that a diff reads well, read back strictly or refused in one line."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from bench.errors import StoreError
from bench.kinds import SCHEMA
from bench.publish import persist

T = TypeVar("T", bound=msgspec.Struct)

# A result is a few KB, a long curve a few hundred; a larger file is not one of ours.
MAX_RECORD_BYTES = 16 * 2**20


def encode(record: msgspec.Struct) -> bytes:
    """Return a record as JSON: one stable key order, indented, so that a diff reads well."""
    return msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n"


def read_record(path: Path, kind: type[T]) -> T:
    """Read one record strictly.

    Args:
        path: A file written by this module.
        kind: The record expected there.

    Raises:
        StoreError: The file is absent, too large, from a newer schema, or not such a record; one line.
    """
    try:
        content = persist(path, lambda: _read(path))
        schema = msgspec.json.decode(content, type=_Versioned).schema
        if schema > SCHEMA:
            raise StoreError(
                f"{path}: written by a newer bench (schema {schema}, this one reads up to {SCHEMA})"
            )
        record = msgspec.json.decode(content, type=kind)
        if encode(record) != content:
            # Written by another version, or by hand; of a key that is there twice the last would win.
            json.loads(content, object_pairs_hook=_refuse_twice)
        return record
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror or error}") from error
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise StoreError(f"{path}: not a {kind.__name__.lower()} record: {error}") from error


def _read(path: Path) -> bytes:
    # Not waiting: whoever made a pipe of that name need never write to it.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise StoreError(f"{path}: not a file")
        if found.st_size > MAX_RECORD_BYTES:
            raise StoreError(f"{path}: {found.st_size} bytes, a record has at most {MAX_RECORD_BYTES}")
        return file.read(MAX_RECORD_BYTES)


def _refuse_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"`{next(name for name in names if names.count(name) > 1)}` is there twice")
    return found


class _Versioned(msgspec.Struct):
    schema: int
