"""Arrays that are slow to make, kept on disk: made once a machine, checked each time they are read."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench.data.arrays import digest
from bench.errors import StoreError
from bench.publish import write_atomic

# The folder; without it, one under the working folder.
ENVIRONMENT = "BENCH_CACHE"


def recall(name: str, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return arrays from the cache, made and kept there first if they are absent or damaged.

    Args:
        name: Of the file, without its ending: the set with whatever its arrays depend on, such as a version.
        make: Makes them, by name.
    """
    path = Path(os.environ.get(ENVIRONMENT) or "results/.cache") / f"{name}.npz"
    arrays = _read(path)
    if arrays is None:
        arrays = make()
        stream = io.BytesIO()
        np.savez_compressed(stream, allow_pickle=False, **arrays, sha256=np.array(_digest(arrays)))
        # Nothing needs the cache: a folder that can't be written costs time only.
        with contextlib.suppress(StoreError, OSError):
            write_atomic(path, stream.getvalue())
    return arrays


def _read(path: Path) -> dict[str, np.ndarray] | None:
    """Return what a file holds, or None where it is absent or not as it was written."""
    if not path.is_file():
        return None
    try:
        # From memory: numpy leaves a file open that turns out to be damaged.
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        stated = str(arrays.pop("sha256"))
    except Exception:  # What comes of bytes that are no archive depends on the bytes.
        return None
    return arrays if stated == _digest(arrays) else None


def _digest(arrays: dict[str, np.ndarray]) -> str:
    return digest(np.array(sorted(arrays)), *(arrays[name] for name in sorted(arrays)))
