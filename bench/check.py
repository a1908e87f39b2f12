"""What `do=check` prints: each data set described and doubted, and each model tried on a little of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from bench import build
from bench.errors import DataError, Unsupported
from bench.probes import probe
from bench.resolve import resolve
from bench.soundness.finding import Finding
from bench.soundness.rows import examine
from bench.spec import Compile, Precision, Recompute, Study


def describe_data(studies: Sequence[Study]) -> Iterator[str]:
    """Yield the lines that say what each distinct data set of some studies holds, and what is wrong with it.

    Args:
        studies: As composed.

    Yields:
        Of each data set a heading and a line per fact: licence, hash, rows, shapes, and what the set itself
        has to say; then its findings. Of each model on it the findings of the probes.

    Raises:
        DataError: A file is damaged, or not the one whose hash the YAML states; or there was an error among
            the findings, once all are told.
        Unsupported: Data is not there; the line says where it comes from.
        BuildError: The import path or an argument is wrong.
    """
    num_errors = 0
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
        found = examine(data, is_thorough=True)
        num_errors += sum(one.severity == "error" for one in found)
        yield from _list("rows", found)
        if num_errors:
            # No model can tell more of these.
            continue
        for study in _pick_models(studies, msgspec.json.encode(spec)):
            tried = _try_model(study)
            num_errors += sum(one.severity == "error" for one in tried)
            yield from _list(f"model {study.model.name}", tried)
    if num_errors:
        raise DataError(f"data: {num_errors} error{'s' * (num_errors != 1)} found, listed above")


def _pick_models(studies: Sequence[Study], data: bytes) -> list[Study]:
    """Return a study of each distinct model on a data set."""
    of_data = [study for study in studies if msgspec.json.encode(study.data) == data]
    return list({msgspec.json.encode(study.model): study for study in of_data}.values())


def _try_model(study: Study) -> list[Finding]:
    plain = msgspec.structs.replace(
        study, precision=Precision(name="fp32"), recompute=Recompute(), compile=Compile()
    )
    try:
        return list(probe(resolve(plain, 0, "cpu")))
    except Unsupported as error:
        return [Finding("note", str(error), "nothing was trained")]


def _list(what: str, found: Sequence[Finding]) -> Iterator[str]:
    if not found:
        yield f"  {what}: nothing amiss"
    for one in found:
        yield f"  {what}: {one}"
