"""The answer first: one sentence per comparison, with its arena, interval and number of seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bench.report.across import count_comparisons
from bench.report.at_best import lists_settings, make_best_suite
from bench.report.best import find_contests
from bench.report.card import write_card
from bench.report.chapter import Block, Note, Notes, Text
from bench.report.concern import find_not_run
from bench.report.cost_line import say_cost
from bench.report.effort import describe_effort
from bench.report.factor import find_tasks
from bench.report.finding import say_contest, say_factors, say_prices
from bench.report.power import describe_floor, find_floor, format_gap
from bench.report.suite import MANY_ARENAS, make_suite, tabulate_suite
from bench.report.sweep import Arena, Sweep
from bench.report.unbeaten import UNBEATEN, write_headline
from bench.report.variant import show_precision
from bench.report.verdict import ALPHA, Judgement, format_range, judge, scale_of
from bench.stats import expect_false_arenas

TITLE = "The answer"
# More sentences than this are what the tables are for.
_MAX_SENTENCES = 8
_MAX_CONTESTS = 6
# A wider table is folded: nobody reads it at a glance.
_MAX_COLUMNS = 10


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
    arenas = [arena for arena in sweep.arenas if arena.obstacle is None]
    tested = [count_comparisons(judge(arena)) for arena in arenas]
    said = say_factors(sweep) if all(len(arena.cells) == 1 for arena in arenas) else ()
    if said:
        # One optimizer under several settings: what they buy is the answer.
        blocks.append(Notes(items=tuple(Note(text=each) for each in said[:_MAX_SENTENCES])))
    else:
        blocks += _compare(sweep, arenas)
    if not_run := find_not_run(sweep):
        blocks.append(Notes(items=tuple(Note(text=each.text) for each in not_run)))
    if sum(tested):
        blocks.append(Text(text=_warn_of_chance(tested), is_small=True))
    effort = describe_effort(arenas)
    if effort is not None:
        text = f"Each optimizer at its own best setting: {effort}, then fresh seeds."
        blocks.append(Text(text=text, is_small=True))
    if not all(arena.is_searched for arena in arenas):
        basis = "All settings are the declared ones, none was searched for: every verdict is of untuned ones."
        listed = "Only the listed settings were tried, none was searched for beyond them."
        blocks.append(Text(text=listed if find_tasks(sweep) else basis, is_small=True))
    return blocks


def _compare(sweep: Sweep, arenas: Sequence[Arena]) -> list[Block]:
    """Return the card, one row per arena where there are many, and every comparison in a sentence, folded."""
    own = make_suite(arenas)
    best = make_best_suite(sweep)
    is_listed = best is not None and (lists_settings(sweep) or len(arenas) > MANY_ARENAS)
    suite = best if best is not None and is_listed else own
    card = write_card(sweep, suite)
    blocks: list[Block] = []
    if card:
        blocks.append(
            Notes(items=tuple(Note(text=text, label=f"{label}:") for label, text in card), is_card=True)
        )
    if len(suite.rows) > (1 if is_listed else MANY_ARENAS):
        table = tabulate_suite(suite)
        blocks.append(replace(table, is_folded=True) if len(table.columns) > _MAX_COLUMNS else table)
    headline = None if is_listed else write_headline(arenas)
    prices = say_prices(sweep)[:_MAX_SENTENCES]
    blocks += [Notes(items=tuple(Note(text=each) for each in prices))] if prices else []
    sentences = _list_contests(sweep)
    if len(arenas) > MANY_ARENAS:
        blocks += [Text(text=f"{headline}. {UNBEATEN}")] if headline else []
        costs = [cost for arena in arenas if (cost := say_cost(arena)) is not None][:1]
        sentences += [Note(text=f"{each} The other arenas are under Speed and Memory.") for each in costs]
    elif not is_listed:
        sentences += [note for arena in arenas for note in _list_sentences(arena)]
    if sentences:
        # Folded once the card has said what they say.
        blocks.append(Notes(items=tuple(sentences), title="Each comparison in a sentence" if card else None))
    return blocks


def _list_contests(sweep: Sweep) -> list[Note]:
    """Return how the optimizers compare at the best of their listed settings, where settings were listed."""
    said = [
        sentence
        for task in find_tasks(sweep)
        for contest in find_contests(task)
        for sentence in say_contest(task, contest)
    ]
    rest = len(said) - _MAX_CONTESTS
    items = [Note(text=sentence) for sentence in said[:_MAX_CONTESTS]]
    items += [Note(text=f"{rest} more are under What each setting buys.")] if rest > 0 else []
    return items


def _list_sentences(arena: Arena) -> tuple[Note, ...]:
    """Return a sentence for each comparison of an arena, and what its seeds can tell at all."""
    judgements = judge(arena)
    others = [each for each in judgements if not each.is_reference and each.cell.obstacle is None]
    sentences = [Note(text=_say(arena, each)) for each in others[:_MAX_SENTENCES]]
    if len(others) > _MAX_SENTENCES:
        sentences.append(Note(text=f"{len(others) - _MAX_SENTENCES} more are in the results table."))
    if not others:
        sentences.append(
            Note(text=f"On {arena.name}, {arena.reference.label} ran alone: nothing to compare.")
        )
    cost = say_cost(arena)
    if cost is not None:
        sentences.append(Note(text=cost))
    floor = find_floor(arena)
    if floor is not None:
        sentences.append(Note(text=f"{describe_floor(floor, is_open=False)}."))
    return tuple(sentences)


def _warn_of_chance(tested: Sequence[int]) -> str:
    """Return how many false claims to expect, from the number of comparisons in each arena."""
    num, false = sum(tested), expect_false_arenas(sum(each > 0 for each in tested), ALPHA)
    return (
        f"{num} comparison{'s' * (num != 1)} on this page; if no optimizer differed, about {false:.2g} of "
        f"them would still be called better or worse (at most {ALPHA:g} per arena, Holm)."
    )


def _say(arena: Arena, each: Judgement) -> str:
    precision = show_precision(arena.cells[0])
    # A sweep over precisions has it in the arena's name.
    told = arena.device if precision in arena.name.split(" ") else f"{precision}, {arena.device}"
    where = f"On {arena.name} ({told})"
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
    size = f"{format_gap(abs(convert(effect.mean)))}{unit}"
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
