"""One thing about a data set or a model, with how bad it is and what to do."""

from __future__ import annotations

from typing import Literal, NamedTuple

Severity = Literal["error", "warning", "note"]


class Finding(NamedTuple):
    """One thing about a data set: how bad it is, what it is, and what to do."""

    severity: Severity
    text: str
    advice: str

    def __str__(self) -> str:
        return f"{self.severity}: {self.text}; {self.advice}"
