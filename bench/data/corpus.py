"""A text read byte by byte: no tokenizer to download, and losses compare across models and papers as bits."""

from __future__ import annotations

import hashlib

import numpy as np
import torch

from bench.data.dataset import require
from bench.data.tokens import Resident, Tokens
from bench.errors import DataError

# What `describe` shows of the histogram.
NUM_SHOWN = 8


class Corpus(Tokens):
    """The bytes of a text, its last part held out; the vocabulary is the distinct bytes that occur.

    Args:
        text: The whole text; its sha256 is that of the file it may have come from.
        place: What the text is called in a message: `data.root: <file>`.
        origin: Where it was found, for `do=check`.
        length: Bytes a row.
        val_share: Share of the bytes at the end held out.
        num_val_tokens: Held-out bytes to evaluate on, at most all.

    Raises:
        DataError: The text is too short, or an argument out of range; the line names its key.
    """

    def __init__(
        self, text: bytes, *, place: str, origin: str, length: int, val_share: float, num_val_tokens: int
    ) -> None:
        require("val_share", 0 < val_share < 1, "a number > 0 and < 1", val_share)
        if not text:
            raise DataError(f"{place}: wants a text, got no byte")
        # `in` is one memchr a byte: far quicker than sorting megabytes.
        self.vocabulary = bytes(byte for byte in range(256) if byte in text)
        numbers = bytearray(256)
        for number, byte in enumerate(self.vocabulary):
            numbers[byte] = number
        tokens = torch.frombuffer(bytearray(text.translate(bytes(numbers))), dtype=torch.uint8)
        num_train = int((1 - val_share) * len(text))
        self._counts = np.bincount(tokens.numpy(), minlength=len(self.vocabulary))
        self._origin = origin
        super().__init__(
            item="byte",
            train=Resident(tokens[:num_train]),
            val=Resident(tokens[num_train:]),
            num_outputs=len(self.vocabulary),
            length=length,
            num_val_tokens=num_val_tokens,
            sha256=hashlib.sha256(text).hexdigest(),
            train_name=f"{place}, the part to train on",
            val_name=f"{place}, the part held out",
        )

    def describe(self) -> dict[str, str]:
        """Return what `do=check` prints, with the most frequent bytes and where the text was found."""
        total = int(self._counts.sum())
        ranks = np.argsort(-self._counts, kind="stable")[:NUM_SHOWN]
        shown = [f"{_show(self.vocabulary[rank])} {self._counts[rank] / total:.1%}" for rank in ranks]
        return super().describe() | {"most frequent": "  ".join(shown), "from": self._origin}


def _show(byte: int) -> str:
    return repr(chr(byte)) if byte < 128 else f"0x{byte:02x}"
