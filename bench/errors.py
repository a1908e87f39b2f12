"""The tree of our errors: each one is a sentence a user can act on.

BenchError
├── SpecError      a YAML value, an override or a flag is wrong: nothing runs, exit code 2
├── BuildError     an import path or its arguments are wrong: nothing runs, exit code 2
├── DataError      a data set is absent, damaged or not the one that was named: exit code 2
├── StoreError     a result file can't be read or written
│   └── FullError      the disk, or this user's part of it, is full: a sweep waits until there is room
└── Unsupported    the combination can't exist here (device, precision, shapes): a row that says so
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class BenchError(Exception):
    """Anything `bench` can say in one line: the place, what was wanted, what came."""


class SpecError(BenchError):
    """A configuration value is wrong."""


class BuildError(BenchError):
    """An import path can't be resolved, is of the wrong kind, or does not take its arguments."""


class DataError(BenchError):
    """A data set is absent, damaged, or not the one its YAML names."""


class StoreError(BenchError):
    """A result file is unreadable or can't be written."""


class FullError(StoreError):
    """There is no room for a file."""


class Unsupported(BenchError):
    """The combination is sound but can't exist here; the run's status becomes `unsupported`."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `"; did you mean 'x'?"` for the closest known name, or nothing.

    Args:
        name: What was written.
        known: The names that would have been valid.

    Returns:
        A clause to append to a message, empty when no known name is close.
    """
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else ""
