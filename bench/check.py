"""What `do=check` prints: each data set of a command, read whole and described, before any time is spent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from bench import build
from bench.spec import Study


def describe_data(studies: Sequence[Study]) -> Iterator[str]:
    """Yield the lines that say what each distinct data set of some studies holds.

    Args:
        studies: As composed; only their data is read.

    Yields:
        A heading and a line per fact: licence, hash, rows, shapes, and what the set itself has to say.

    Raises:
        DataError: A file is damaged, or not the one whose hash the YAML states.
        Unsupported: Data is not there; the line says where it comes from.
        BuildError: The import path or an argument is wrong.
    """
    for spec in {msgspec.json.encode(study.data): study.data for study in studies}.values():
        data = build.load_data(spec, "cpu")
        facts = {
            "version": spec.version,
            "licence": spec.licence,
            "sha256": data.sha256 + ("" if spec.sha256 else " (the YAML names none to hold it against)"),
            "item": spec.item,
            **data.describe(),
        }
        width = max(map(len, facts))
        yield spec.name
        for label, text in facts.items():
            yield f"  {label:<{width}}  {text}"
