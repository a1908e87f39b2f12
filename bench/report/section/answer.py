"""The answer first: one sentence per comparison, with its arena, interval and number of seeds."""

from __future__ import annotations

from collections.abc import Sequence

from bench.report.across import count_comparisons
from bench.report.chapter import Block, Note, Notes, Text
from bench.report.effort import describe_effort
from bench.report.sweep import Arena, Sweep
from bench.report.verdict import ALPHA, Judgement, format_range, judge, scale_of
from bench.stats import expect_false_arenas

TITLE = "The answer"
# More sentences than this are what the tables are for.
_MAX_SENTENCES = 8


def show(sweep: Sweep) -> Sequence[Block] | str:
    """Return the generated sentences and what they rest on."""
    if not sweep.arenas:
        return "This sweep holds no readable study."
    blocks: list[Block] = []
    if sweep.is_preliminary:
        blocks.append(
            Text(
                text="PRELIMINARY: a search is still to be confirmed or widened, so settings and "
                "verdicts may change."
            )
        )
    tested: list[int] = []
    for arena in sweep.arenas:
        judgements = judge(arena)
        tested.append(count_comparisons(judgements))
        others = [each for each in judgements if not each.is_reference]
        sentences = [Note(text=_say(arena, each)) for each in others[:_MAX_SENTENCES]]
        if len(others) > _MAX_SENTENCES:
            sentences.append(Note(text=f"{len(others) - _MAX_SENTENCES} more are in the results table."))
        if not others:
            sentences.append(
                Note(text=f"On {arena.name}, {arena.reference.label} ran alone: nothing to compare.")
            )
        blocks.append(Notes(items=tuple(sentences)))
    if sum(tested):
        blocks.append(Text(text=_warn_of_chance(tested)))
    basis = (
        "All settings are the declared ones, none was searched for: every verdict is of untuned optimizers."
    )
    effort = describe_effort(sweep.arenas)
    if effort is not None:
        blocks.append(Text(text=f"Each optimizer at its own best setting: {effort}, then fresh seeds."))
    if not all(arena.is_searched for arena in sweep.arenas):
        blocks.append(Text(text=basis))
    return blocks


def _warn_of_chance(tested: Sequence[int]) -> str:
    """Return how many false claims to expect, from the number of comparisons in each arena."""
    num, false = sum(tested), expect_false_arenas(sum(each > 0 for each in tested), ALPHA)
    return (
        f"{num} comparison{'s' * (num != 1)} on this page; if no optimizer differed, about {false:.2g} of "
        f"them would still be called better or worse (at most {ALPHA:g} per arena, Holm)."
    )


def _say(arena: Arena, each: Judgement) -> str:
    where = f"On {arena.name} ({arena.study.precision.name}, {arena.device})"
    who, reference = each.cell.label, arena.reference.label
    effect = each.effect
    word = each.verdict.partition(",")[0]
    if effect is None or effect.interval is None:
        note = f"; {each.remark}" if each.remark else ""
        return f"{where}, {who} against {reference}: {each.verdict}{note}."
    # An interval speaks of what the seeds change, and of nothing else.
    pairs = f"n = {effect.n} paired seeds that vary {arena.vary}"
    interval = f"95 % interval {format_range(arena, effect.interval)}, {pairs}"
    unit, convert = scale_of(arena)
    size = f"{abs(convert(effect.mean)):.2g}{unit}"
    # Untuned, or preliminary.
    suffix = each.verdict.partition(", ")[2]
    tag = f" ({suffix})" if suffix else ""
    if word in ("better", "worse"):
        direction = "lower" if effect.mean < 0 else "higher"
        claim = f"{who}{tag} reached a {size} {direction} final validation loss than {reference}"
        return f"{where}, {claim}: {interval}."
    if word == "tied":
        detail = f"; {each.remark}" if each.remark else ""
        return f"{where}, {who} and {reference}{tag} are tied within the margin: {interval}{detail}."
    if word == "inconclusive":
        return f"{where}, {who} against {reference}: {each.verdict} (95 % interval, {pairs}): {each.remark}."
    detail = f"; {each.remark}" if each.remark else ""
    return f"{where}, {who} against {reference}: {each.verdict} ({interval}{detail})."
