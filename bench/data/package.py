"""Data that lies inside an installed package, found by its metadata: none of the package's code runs."""

from __future__ import annotations

from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from bench.errors import DataError, Unsupported


def find_package(name: str) -> Distribution:
    """Return an installed package.

    Raises:
        Unsupported: It is not installed; the line says how to.
    """
    try:
        return distribution(name)
    except PackageNotFoundError:
        raise Unsupported(f"not run: wants the package {name} (pip install bench[data])") from None


def find_in_package(name: str, file: str) -> Path:
    """Return a file of an installed package.

    Args:
        name: Of the package.
        file: Relative to where packages lie, such as `bible/data/kjv.jsonl`.

    Raises:
        Unsupported: The package is not installed.
        DataError: It lacks the file.
    """
    package = find_package(name)
    path = Path(str(package.locate_file(file)))
    if not path.is_file():
        raise DataError(f"data: {name} {package.version}: wants {file} in it, got a package without")
    return path
