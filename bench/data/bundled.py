"""Files that ship inside an installed package, found without importing it: some take a second to import."""

from __future__ import annotations

import gzip
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from bench.errors import DataError


def find_bundled(package: str, *parts: str) -> Path:
    """Return the path of a file inside an installed package.

    Raises:
        DataError: The package is not installed, or has no such file.
    """
    spec = find_spec(package)
    folders = spec.submodule_search_locations if spec is not None else None
    for folder in folders or ():
        if (path := Path(folder, *parts)).is_file():
            return path
    raise DataError(f"{package}: wants the package with {'/'.join(parts)}, which is not installed here")


def read_digits() -> tuple[np.ndarray, np.ndarray]:
    """Return scikit-learn's digits, uint8: images (1797, 8, 8) of values from 0 to 16, labels (1797,)."""
    with gzip.open(find_bundled("sklearn", "datasets", "data", "digits.csv.gz"), "rt") as lines:
        rows = np.loadtxt(lines, delimiter=",", dtype=np.uint8)
    return np.ascontiguousarray(rows[:, :-1]).reshape(-1, 8, 8), np.ascontiguousarray(rows[:, -1])
