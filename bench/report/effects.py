"""How differences to a reference are written: in full for a table, or short enough for a glance."""

from __future__ import annotations

from collections.abc import Sequence

from bench.report.sweep import Arena
from bench.report.verdict import Judgement, scale_of


def format_effects(arena: Arena, judgements: Sequence[Judgement]) -> tuple[str | None, ...]:
    """Return the effects of an arena as `-2.1 [-3.0, -1.2]`, with one count of decimals over the column."""
    _, convert = scale_of(arena)
    effects = [each.effect for each in judgements]
    shown = [
        [convert(value) for value in (effect.mean, *(effect.interval or ()))] if effect is not None else []
        for effect in effects
    ]
    largest = max((abs(value) for values in shown for value in values), default=0.0)
    decimals = 1
    while decimals < 6 and 0 < largest < 10 ** (1 - decimals):
        decimals += 1
    texts: list[str | None] = []
    for each, values in zip(judgements, shown, strict=True):
        # Rounding may leave a zero with a sign, which says nothing.
        parts = [
            f"{value:+.{decimals}f}" if round(value, decimals) else f"{0:.{decimals}f}" for value in values
        ]
        if each.cell.obstacle is not None:
            texts.append(None)
        elif each.is_reference:
            texts.append("reference")
        elif len(parts) == 3:
            texts.append(f"{parts[0]} [{parts[1]}, {parts[2]}]")
        else:
            texts.append(parts[0] if parts else None)
    return tuple(texts)


def format_effect(arena: Arena, value: float) -> str:
    """Return a difference, in the unit shown, with as many digits as a glance takes in: +4.4, -12, +2e+04."""
    if abs(value) >= 999.5:
        return f"{value:+.0e}"
    if abs(value) >= 9.95:
        return f"{value:+.0f}"
    if scale_of(arena)[0]:
        # Of per cents, less than a tenth is little whatever it is.
        return f"{value:+.1f}" if abs(value) >= 0.05 else "0.0"
    return f"{value:+.2g}" if value else "0"
