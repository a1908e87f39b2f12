"""Packages written into a folder: with it on the path, their metadata is found as that of installed ones."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest


def install(
    patch: pytest.MonkeyPatch, folder: Path, name: str, files: dict[str, bytes], version: str = "1.0"
) -> None:
    """Write a package's files with the list of their hashes, and put the folder first on the path."""
    lines = []
    for file, content in files.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(content)
        hashed = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        lines.append(f"{file},sha256={hashed},{len(content)}\n")
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "RECORD").write_text("".join(lines) + f"{info.name}/RECORD,,\n")
    patch.syspath_prepend(str(folder))
