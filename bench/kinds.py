"""The kinds of number and text that a record may hold, and what every record is."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

SCHEMA = 1

Positive = Annotated[float, Meta(gt=0)]
NonNegative = Annotated[float, Meta(ge=0)]
Finite = float  # strict.read refuses nan and infinities everywhere.
Fraction = Annotated[float, Meta(ge=0, lt=1)]
Count = Annotated[int, Meta(ge=1)]
Name = Annotated[str, Meta(min_length=1, max_length=64)]
Vary = Literal["init", "order", "dropout", "split"]
Target = Annotated[str, Meta(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$")]


class Record(Struct, frozen=True, forbid_unknown_fields=True):
    """What every record here is: frozen, and strict about unknown fields (keyword-only is not inherited)."""
