"""One file of token ids as others write them, mapped into memory and checked before a token is believed."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from bench.data.cache import recall
from bench.data.root import refuse

HEADER_BYTES = 1024
# First number of the header -> the version it goes with, and the tokens that follow: those of llm.c, for
# GPT-2's vocabulary and for that of Llama 3.
HEADERS = {20240520: (1, "<u2"), 20240801: (7, "<u4")}
# Of each end of a file, for its fingerprint.
END_BYTES = 2**20
# Tokens looked at together: the memory of looking at all.
PIECE = 2**24


class Shard(NamedTuple):
    """One file's tokens, still on disk.

    Attributes:
        path: The file.
        tokens: `(num_tokens,)`, uint16 or uint32, a view of the file.
        sha256: Of its size and of the first and the last MiB.
    """

    path: Path
    tokens: np.ndarray
    sha256: str


def open_shard(path: Path, has_header: bool, vocab_size: int) -> Shard:
    """Return a file's tokens; all of them are read once a machine, to find the largest.

    Args:
        path: The file.
        has_header: Whether 256 numbers of 32 bits come first: what they are, their version, the number of
            tokens, zeros. Without them every two bytes are a token.
        vocab_size: What every token must be below.

    Raises:
        DataError: The file is not of this form; the line names it.
    """
    try:
        num_bytes = path.stat().st_size
        with path.open("rb") as stream:
            start = stream.read(END_BYTES)
            stream.seek(max(0, num_bytes - END_BYTES))
            end = stream.read(END_BYTES)
    except OSError as error:
        raise refuse(path, "a readable file", error.strerror or str(error)) from None
    offset, kind = _read_header(path, start, num_bytes) if has_header else _read_plain(path, start, num_bytes)
    # A plain view: slicing numpy's own class of mapped arrays costs several times as much.
    tokens = np.asarray(np.memmap(path, dtype=kind, mode="r", offset=offset))
    sha256 = hashlib.sha256(num_bytes.to_bytes(8, "little") + start + end).hexdigest()
    name = f"shard_{sha256[:32]}_{path.stat().st_mtime_ns}"
    largest = recall(name, lambda: {"largest": _find_largest(tokens)})["largest"]
    if largest[0] >= vocab_size:
        raise refuse(path, f"tokens below {vocab_size}", f"{largest[0]} at token {largest[1]}")
    return Shard(path, tokens, sha256)


def _read_plain(path: Path, start: bytes, num_bytes: int) -> tuple[int, str]:
    if num_bytes == 0 or num_bytes % 2:
        raise refuse(path, "two bytes a token", f"{num_bytes:,} bytes")
    if int.from_bytes(start[:4], "little") in HEADERS and num_bytes >= HEADER_BYTES:
        raise refuse(path, "tokens from the first byte on", "a header, which data.has_header=true reads")
    return 0, "<u2"


def _read_header(path: Path, start: bytes, num_bytes: int) -> tuple[int, str]:
    if num_bytes < HEADER_BYTES:
        raise refuse(path, f"a header of {HEADER_BYTES} bytes", f"{num_bytes:,} bytes")
    mark, version, count = np.frombuffer(start[:12], dtype="<i4").tolist()
    if mark not in HEADERS:
        raise refuse(path, "a header that starts with " + " or ".join(map(str, HEADERS)), mark)
    known, kind = HEADERS[mark]
    if version != known:
        raise refuse(path, f"version {known} of the header {mark}", version)
    if count < 1:
        raise refuse(path, "a header that counts 1 token or more", count)
    wants = HEADER_BYTES + count * np.dtype(kind).itemsize
    if wants != num_bytes:
        raise refuse(path, f"{wants:,} bytes, as its header counts {count:,} tokens", f"{num_bytes:,}")
    return HEADER_BYTES, kind


def _find_largest(tokens: np.ndarray) -> np.ndarray:
    """Return the largest token and where it first is."""
    value, place = -1, 0
    for begin in range(0, len(tokens), PIECE):
        piece = tokens[begin : begin + PIECE]
        if int(piece.max()) > value:
            value, place = int(piece.max()), begin + int(piece.argmax())
    return np.array([value, place], dtype=np.int64)


class Mapped:
    """The tokens of several files as one row, read from disk window by window.

    Args:
        shards: In order; a window may begin in one and end in the next.
        device: Where windows come out.
    """

    index_device = torch.device("cpu")

    def __init__(self, shards: list[Shard], device: torch.device | str = "cpu") -> None:
        self._shards = shards
        self._device = device
        self._ends = np.cumsum([len(shard.tokens) for shard in shards])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def to(self, device: torch.device | str) -> Mapped:
        """Return them with windows on a device; nothing is read."""
        return Mapped(self._shards, device)

    def windows(self, starts: Tensor, width: int) -> Tensor:
        """Return `(len(starts), width)` tokens, int64; see `bench.data.tokens.Source`."""
        # int32 holds every vocabulary, and is half the bytes to move to a device.
        rows = np.empty((len(starts), width), dtype=np.int32)
        for row, start in zip(rows, starts.tolist(), strict=True):
            self._fill(row, start)
        return torch.from_numpy(rows).to(self._device).long()

    def _fill(self, row: np.ndarray, start: int) -> None:
        """Write the tokens from a place on into a row."""
        number = int(np.searchsorted(self._ends, start, side="right"))
        filled = 0
        while filled < len(row):
            tokens = self._shards[number].tokens
            begin = start + filled - (int(self._ends[number]) - len(tokens))
            piece = tokens[begin : begin + len(row) - filled]
            row[filled : filled + len(piece)] = piece
            filled += len(piece)
            number += 1
