"""Files of token ids that others made: nanoGPT's, llm.c's and modded-nanogpt's, of any size."""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePath
from typing import Annotated

import numpy as np
from msgspec import Meta

from bench.data.dataset import require
from bench.data.root import ENVIRONMENT, find_folder, refuse
from bench.data.shards import Mapped, Shard, open_shard
from bench.data.tokens import Tokens
from bench.errors import DataError, Unsupported
from bench.kinds import Count

Pattern = Annotated[str, Meta(min_length=1)]
# What `describe` counts, and what it shows of it.
NUM_COUNTED = 2**20
NUM_SHOWN = 8


class TokenShards(Tokens):
    """The tokens of all files of a pattern as one row, in the order of the files' names; never all in memory.

    The sha256 is of each file's size and of its first and last MiB: hashing tens of gigabytes takes longer
    than many a run. A change in the middle that keeps size and ends goes unseen.

    Args:
        root: Folder of the files; null: the folder that BENCH_DATA names.
        folders: Subfolders they may lie in.
        train: Name or pattern of the files to train on, such as `fineweb_train_*.bin`.
        val: Name or pattern of the files held out.
        has_header: Whether each starts with 256 numbers of 32 bits, as llm.c writes them.
        vocab_size: What every token must be below: columns of a model's output.
        length: Tokens a row.
        num_val_tokens: Held-out tokens to evaluate on, at most all.

    Raises:
        Unsupported: No root was given and there are no such files.
        DataError: A file is damaged or of another form, or an argument is out of range.
    """

    def __init__(
        self,
        *,
        root: str | None,
        folders: list[str],
        train: Pattern,
        val: Pattern,
        has_header: bool,
        vocab_size: Count,
        length: Count,
        num_val_tokens: Count,
    ) -> None:
        require("vocab_size", vocab_size >= 1, "a whole number >= 1", vocab_size)
        for key, pattern in (("train", train), ("val", val)):
            is_name = pattern not in ("", ".", "..") and PurePath(pattern).name == pattern
            require(key, is_name, "a file name or a pattern of names, without a folder", pattern)
        folder = find_folder(root, folders, [train])
        if folder is None:
            raise Unsupported(f"not run: wants {train} in data.root or in the folder {ENVIRONMENT} names")
        train_paths, val_paths = _list(folder, train), _list(folder, val)
        if shared := set(train_paths) & set(val_paths):
            raise refuse(min(shared), "a file on one side", "one that both data.train and data.val name")
        sides = [
            [open_shard(path, has_header, vocab_size) for path in paths] for paths in (train_paths, val_paths)
        ]
        shards = sides[0] + sides[1]
        for shard in shards:
            if shard.tokens.dtype != shards[0].tokens.dtype:
                raise refuse(shard.path, f"tokens as in {shards[0].path.name}", "tokens of another size")
        self._folder = folder
        self._shards = sides
        # Each side's files by their own hashes: renaming changes nothing, moving one across does.
        text = "\n".join("".join(f"{shard.sha256} " for shard in side) for side in sides)
        super().__init__(
            item="token",
            train=Mapped(sides[0]),
            val=Mapped(sides[1]),
            num_outputs=vocab_size,
            length=length,
            num_val_tokens=num_val_tokens,
            sha256=hashlib.sha256(text.encode()).hexdigest(),
            train_name=f"data.root: {train}",
            val_name=f"data.root: {val}",
        )

    def describe(self) -> dict[str, str]:
        """Return what `do=check` prints, with the files and the most frequent of the first tokens."""
        first = self._shards[0][0].tokens[:NUM_COUNTED]
        tokens, counts = np.unique(first, return_counts=True)
        ranks = np.argsort(-counts, kind="stable")[:NUM_SHOWN]
        shown = [f"{tokens[rank]} {counts[rank] / len(first):.1%}" for rank in ranks]
        return super().describe() | {
            "files to train on": _name(self._shards[0]),
            "files held out": _name(self._shards[1]),
            f"most frequent of the first {len(first):,}": "  ".join(shown),
            "from": str(self._folder),
        }


def _list(folder: Path, pattern: str) -> list[Path]:
    paths = sorted(path for path in folder.glob(pattern) if path.is_file())
    if not paths:
        raise DataError(f"data.root: wants {pattern}, unpacked, in {folder.name}, got no such file")
    return paths


def _name(side: list[Shard]) -> str:
    names = side[0].path.name if len(side) == 1 else f"{side[0].path.name} to {side[-1].path.name}"
    return f"{len(side)} ({names})"
