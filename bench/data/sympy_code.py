"""The source code of sympy: 16 MB of program text that is wherever torch is, which requires it."""

from __future__ import annotations

import base64
import csv
import hashlib
from pathlib import Path, PurePosixPath

from bench.data.corpus import Corpus
from bench.data.package import find_package
from bench.data.split import Share
from bench.errors import DataError, Unsupported
from bench.kinds import Count


class SympyCode(Corpus):
    """The bytes of sympy's Python files without its tests, in the order of their paths.

    Each file is compared with the hash that its release states; another release is another text, so the
    sha256 of the YAML refuses it.

    Args:
        length: Bytes a row.
        val_share: Share of the text at the end held out.
        num_val_tokens: Held-out bytes to evaluate on, at most all.

    Raises:
        Unsupported: sympy is not installed, or without the list of its files.
        DataError: A file is absent or not the released one, or an argument is out of range.
    """

    def __init__(self, *, length: Count, val_share: Share, num_val_tokens: Count) -> None:
        package = find_package("sympy")
        # Path, hash and size a line; read as it stands, as newer Pythons leave out files that are not there.
        record = csv.reader((package.read_text("RECORD") or "").splitlines())
        listed = {line[0]: line[1] for line in record if len(line) == 3 and _is_source(line[0])}
        if not listed:
            raise Unsupported("not run: wants sympy with the list of its files (pip install sympy)")
        place = f"data: sympy {package.version}"
        texts = []
        for name in sorted(listed):
            path, stated = Path(str(package.locate_file(name))), listed[name]
            try:
                text = path.read_bytes()
            except OSError as error:
                raise DataError(f"{place}: wants {name}, got {error.strerror}") from None
            if stated != _hash(text):
                raise DataError(f"{place}: wants {name} as it was released, got a changed file")
            texts.append(text)
        super().__init__(
            b"".join(texts),
            place=place,
            origin=f"{package.locate_file('sympy')}, {len(texts):,} files of sympy {package.version}",
            length=length,
            val_share=val_share,
            num_val_tokens=num_val_tokens,
        )


def _is_source(name: str) -> bool:
    path = PurePosixPath(name)
    return path.suffix == ".py" and path.parts[0] == "sympy" and "tests" not in path.parts


def _hash(text: bytes) -> str:
    # As wheels state it: URL-safe base64 without padding (PEP 427).
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(text).digest()).rstrip(b"=").decode()
