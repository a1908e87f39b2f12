"""Where a user's data files lie, and how they are read: every failure is one line that names the file."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Sequence
from pathlib import Path

from bench.errors import DataError

# The folder of all sets, for those who don't want to name one a set.
ENVIRONMENT = "BENCH_DATA"
# 2 GiB: what claims more is no set that is held whole.
MAX_BYTES = 2**31
PIECE_BYTES = 2**24


def find_folder(
    root: str | None, layouts: Sequence[str], files: Sequence[str], system: Sequence[str] = ()
) -> Path | None:
    """Return the first folder that holds any of a set's files.

    A given root is searched alone; else the folder that BENCH_DATA names, then those of system packages.
    Each is searched layout by layout, then directly: sets whose files have the same names don't mix.

    Args:
        root: The key `data.root`.
        layouts: Subfolders the files may lie in, such as `MNIST/raw`.
        files: Names or patterns, such as `train_*.bin`; the same with .gz at the end count too.
        system: Folders where packages of an operating system put the set.

    Returns:
        The folder; None if no root was given and none has the files, so that the caller says what to install.

    Raises:
        DataError: The root, or what BENCH_DATA names, is no folder; or the root was given and has no file.
    """
    named = os.environ.get(ENVIRONMENT) if root is None else root
    bases = [] if named is None else [Path(named).expanduser()]
    if bases and not bases[0].is_dir():
        raise DataError(f"{ENVIRONMENT if root is None else 'data.root'}: wants a folder, got {named}")
    if root is None:
        bases += [Path(folder) for folder in system]
    for base in bases:
        for folder in [*(base / layout for layout in layouts), base]:
            if any(True for name in files for end in ("", ".gz") for _ in folder.glob(name + end)):
                return folder
    if root is not None:
        raise DataError(f"data.root: wants {files[0]} in it, got a folder without")
    return None


def pick_file(folder: Path, name: str) -> Path:
    """Return a file of a folder, plain if it is there, else with .gz at its end.

    Raises:
        DataError: Neither is there.
    """
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise refuse(folder / name, "the file beside the others", "none")


def read_file(path: Path, max_bytes: int = MAX_BYTES) -> bytearray:
    """Return a file's content, unpacked where its name ends in .gz.

    Raises:
        DataError: It can't be opened or unpacked, or holds more than max_bytes.
    """
    content = bytearray()
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            while piece := stream.read(PIECE_BYTES):
                content += piece
                if len(content) > max_bytes:
                    raise refuse(path, f"at most {max_bytes:,} bytes", "more")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise refuse(path, "a whole gzip file", str(error)) from None
    except OSError as error:
        raise refuse(path, "a readable file", error.strerror or str(error)) from None
    return content


def refuse(path: Path | str, wants: str, got: object) -> DataError:
    """Return the error for a damaged file.

    Args:
        path: The file; a text names it as it stands, a Path by its last part.
        wants: What should be there.
        got: What is.
    """
    name = path.name if isinstance(path, Path) else path
    # In one line, however much of the file's own text it quotes.
    name, got = (" ".join(str(text).split())[:160] for text in (name, got))
    return DataError(f"data.root: {name}: wants {wants}, got {got}")
