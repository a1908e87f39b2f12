"""A text file of the user's own, read as bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from msgspec import Meta

from bench.data.corpus import Corpus
from bench.data.root import ENVIRONMENT, find_folder, pick_file, read_file
from bench.data.split import Share
from bench.errors import Unsupported
from bench.kinds import Count


class Text(Corpus):
    """The bytes of one file, whatever they are.

    Args:
        root: The file itself, or a folder that holds it; null: the folder that BENCH_DATA names.
        file: Its name in a folder; with .gz at the end it counts too.
        folders: Subfolders it may lie in.
        length: Bytes a row.
        val_share: Share of the text at the end held out.
        num_val_tokens: Held-out bytes to evaluate on, at most all.

    Raises:
        Unsupported: No root was given and there is no such file.
        DataError: The file can't be read or is too short, or an argument is out of range.
    """

    def __init__(
        self,
        *,
        root: str | None,
        file: Annotated[str, Meta(min_length=1)],
        folders: list[str],
        length: Count,
        val_share: Share,
        num_val_tokens: Count,
    ) -> None:
        if root is not None and Path(root).expanduser().is_file():
            path = Path(root).expanduser()
        else:
            folder = find_folder(root, folders, [file])
            if folder is None:
                raise Unsupported(f"not run: wants {file} in data.root or in the folder {ENVIRONMENT} names")
            path = pick_file(folder, file)
        super().__init__(
            bytes(read_file(path)),
            place=f"data.root: {path.name}",
            origin=str(path),
            length=length,
            val_share=val_share,
            num_val_tokens=num_val_tokens,
        )
