"""The answer first: one sentence per comparison, with its arena, interval and number of seeds."""

from __future__ import annotations

from collections.abc import Sequence

from bench.report.chapter import Block, Note, Notes, Text
from bench.report.sweep import Arena, Sweep
from bench.report.verdict import Judgement, format_range, judge, scale_of

TITLE = "The answer"
# More sentences than this are what the tables are for.
_MAX_SENTENCES = 8


def show(sweep: Sweep) -> Sequence[Block] | str:
    """Return the generated sentences and what they rest on."""
    if not sweep.arenas:
        return "This sweep holds no readable study."
    blocks: list[Block] = []
    for arena in sweep.arenas:
        others = [each for each in judge(arena) if not each.is_reference]
        sentences = [Note(text=_say(arena, each)) for each in others[:_MAX_SENTENCES]]
        if len(others) > _MAX_SENTENCES:
            sentences.append(Note(text=f"{len(others) - _MAX_SENTENCES} more are in the results table."))
        if not others:
            sentences.append(
                Note(text=f"On {arena.name}, {arena.reference.label} ran alone: nothing to compare.")
            )
        blocks.append(Notes(items=tuple(sentences)))
    basis = (
        "All settings are the declared ones, none was searched for: every verdict is of untuned optimizers."
    )
    if not all(arena.is_searched for arena in sweep.arenas):
        blocks.append(Text(text=basis))
    return blocks


def _say(arena: Arena, each: Judgement) -> str:
    where = f"On {arena.name} ({arena.study.precision.name}, {arena.device})"
    who, reference = each.cell.label, arena.reference.label
    effect = each.effect
    word = each.verdict.partition(",")[0]
    if effect is None or effect.interval is None:
        note = f"; {each.remark}" if each.remark else ""
        return f"{where}, {who} against {reference}: {each.verdict}{note}."
    interval = f"95 % interval {format_range(arena, effect.interval)}, n = {effect.n} paired seeds"
    unit, convert = scale_of(arena)
    size = f"{abs(convert(effect.mean)):.2g}{unit}"
    tag = "" if arena.is_searched else " (untuned)"
    if word in ("better", "worse"):
        direction = "lower" if effect.mean < 0 else "higher"
        claim = f"{who}{tag} reached a {size} {direction} final validation loss than {reference}"
        return f"{where}, {claim}: {interval}."
    if word == "tied":
        detail = f"; {each.remark}" if each.remark else ""
        return f"{where}, {who} and {reference}{tag} are tied within the margin: {interval}{detail}."
    if word == "inconclusive":
        basis = f"95 % interval, n = {effect.n} paired seeds"
        return f"{where}, {who} against {reference}: {each.verdict} ({basis}): {each.remark}."
    detail = f"; {each.remark}" if each.remark else ""
    return f"{where}, {who} against {reference}: {each.verdict} ({interval}{detail})."
