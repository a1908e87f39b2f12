"""What stands between data and the first step: errors refuse the command, warnings are lines, each once."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from bench.data.dataset import DataSet
from bench.errors import DataError
from bench.soundness.finding import Finding
from bench.soundness.rows import examine
from bench.spec import Data

# Those that this process has looked at.
_admitted: set[bytes] = set()


def admit(spec: Data, data: DataSet) -> list[str]:
    """Look at a data set once in this process, and return the lines that warn of it.

    Args:
        spec: Which it is.
        data: The same, on the CPU.

    Raises:
        DataError: It can't be trained on.
    """
    key = msgspec.json.encode(spec)
    if key in _admitted:
        return []
    found = examine(data, is_thorough=False)
    refuse(spec.name, found)
    _admitted.add(key)
    return [f"data {spec.name}: {one}" for one in found if one.severity == "warning"]


def refuse(name: str, findings: Sequence[Finding]) -> None:
    """Raise the first error among findings.

    Raises:
        DataError: There is one.
    """
    errors = [one for one in findings if one.severity == "error"]
    if errors:
        more = f" (and {len(errors) - 1} more: do=check lists them)" if len(errors) > 1 else ""
        raise DataError(f"data {name}: {errors[0].text}; {errors[0].advice}{more}")
