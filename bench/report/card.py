"""The answer in three lines: which optimizer, how sure that is, and at what cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from bench.report.alone import name_some
from bench.report.concern import find_concerns
from bench.report.effects import format_effect
from bench.report.memory_tables import choose_unit
from bench.report.pace import Pace, compare_steps, step_s
from bench.report.suite import Entry, Suite
from bench.report.sweep import Arena, Cell, Sweep
from bench.report.verdict import format_range, scale_of

# More optimizers than this are what the tables are for.
_MAX_NAMED = 5
# In the order in which they are said, and how.
_WORDS = {
    "better": "better",
    "leaning better": "leaning better",
    "tied": "tied within the margin",
    "inconclusive": "inconclusive",
    "leaning worse": "leaning worse",
    "worse": "worse",
    "no claim": "no claim",
    "unstable": "unstable",
    "missing": "missing",
    "not run": "not run",
}

# Words that tell nothing of a loss.
_SILENT = {"no claim", "unstable", "missing", "not run"}


def write_card(sweep: Sweep, suite: Suite) -> tuple[tuple[str, str], ...]:
    """Return label and sentence of each line; none where no two optimizers can be compared.

    Args:
        sweep: For what went wrong in it.
        suite: Its arenas, with one cell of each optimizer.
    """
    references = list(dict.fromkeys(_name_reference(suite)))
    others = [label for label in suite.labels if label not in references or len(references) > 1]
    if not references or not any(label in row.entries for label in others for row in suite.rows):
        return ()
    reference = references[0] if len(references) == 1 else "the reference"
    lines = [
        ("Which", _say_which(suite, reference, others)),
        ("How sure", _say_how_sure(sweep, suite, others)),
        ("At what cost", _say_cost(suite, reference, others)),
    ]
    return tuple((label, text) for label, text in lines if text)


def _name_reference(suite: Suite) -> Iterable[str]:
    for row in suite.rows:
        yield from (label for label, entry in row.entries.items() if entry.judgement.is_reference)


def _list_entries(suite: Suite, label: str) -> list[tuple[Arena, Entry]]:
    """Return what an optimizer did where it was not the reference."""
    return [
        (row.arena, row.entries[label])
        for row in suite.rows
        if label in row.entries and not row.entries[label].judgement.is_reference
    ]


def _say_which(suite: Suite, reference: str, others: Sequence[str]) -> str:
    num = len(suite.rows)
    where = f"on {suite.rows[0].arena.name}" if num == 1 else f"over {num} arenas"
    choice = f", {suite.choice} (exploratory)" if suite.choice else ""
    end = f" Final validation loss {where}{choice}{_qualify(suite)}; lower is better."
    found = {label: Counter(_word(entry) for _, entry in _list_entries(suite, label)) for label in others}
    words = {word for count in found.values() for word in count}
    # Where nothing could be told at all, that would be no finding.
    none = "" if "better" in words or words <= _SILENT else f"No other is better than {reference}. "
    if num == 1:
        groups = []
        for word, said in _WORDS.items():
            names = [label for label in others if found[label][word]]
            shown = [_show(*_list_entries(suite, label)[0], label) for label in names[:_MAX_NAMED]]
            shown += [f"{len(names) - _MAX_NAMED} more"] * (len(names) > _MAX_NAMED)
            than = f" than {reference}" if word == "better" else ""
            groups += [f"{said}{than}: {', '.join(shown)}"] if names else []
        return f"{none}{_raise('; '.join(groups))}.{end}"
    ranked = sorted(others, key=lambda label: [*(-found[label][word] for word in _WORDS), label])
    parts = [f"{label} {_tally(found[label])}" for label in ranked[:_MAX_NAMED]]
    parts += [f"{len(ranked) - _MAX_NAMED} more below"] * (len(ranked) > _MAX_NAMED)
    against = none or f"Against {reference}: "
    return f"{against}{'; '.join(parts)}.{end}"


def _raise(text: str) -> str:
    """Return a sentence with its first letter raised."""
    return text[:1].upper() + text[1:]


def _word(entry: Entry) -> str:
    kind = entry.kind
    return entry.judgement.verdict.partition(",")[0] if kind == "leaning" else kind


def _qualify(suite: Suite) -> str:
    """Return what every claim has to say: that nothing was searched, or that the search goes on."""
    verdicts = [entry.judgement.verdict for row in suite.rows for entry in row.entries.values()]
    words = [word for word in ("untuned", "preliminary") if any(f", {word}" in each for each in verdicts)]
    return f", {', '.join(words)}" if words else ""


def _show(arena: Arena, entry: Entry, label: str) -> str:
    if entry.effect is None:
        return label
    return f"{label} ({format_effect(arena, entry.effect)}{scale_of(arena)[0]})"


def _tally(count: Counter[str]) -> str:
    total = sum(count.values())
    words = [word for word in _WORDS if count[word]]
    if len(words) == 1:
        return f"{words[0]} on all {total}"
    return ", ".join(f"{word} on {count[word]}" for word in words)


def _say_how_sure(sweep: Sweep, suite: Suite, others: Sequence[str]) -> str:
    known: dict[str, list[tuple[Arena, Entry]]] = {}
    is_many = len(suite.rows) > 1
    for label in others:
        # What carries no claim would widen an interval by what may not be said.
        entries = [pair for pair in _list_entries(suite, label) if pair[1].judgement.effect is not None]
        entries = [pair for pair in entries if pair[1].kind != "no claim"] if is_many else entries
        if entries:
            known[label] = entries
    effects = [effect for pairs in known.values() for _, entry in pairs if (effect := entry.judgement.effect)]
    parts = []
    if effects:
        nums = sorted({effect.n for effect in effects})
        parts.append(f"n = {'-'.join(map(str, dict.fromkeys((nums[0], nums[-1]))))} paired seeds")
    intervals = [said for label, pairs in known.items() if (said := _say_interval(label, pairs))]
    if intervals:
        outer = " (widest over the arenas with a claim)" if is_many else ""
        rest = [f"{len(intervals) - _MAX_NAMED} more below"] * (len(intervals) > _MAX_NAMED)
        parts.append(f"95 % intervals{outer} {', '.join([*intervals[:_MAX_NAMED], *rest])}")
    else:
        parts.append("too few for an interval" if effects else "nothing could be paired")
    failed = sum(end.val_loss is None for end in sweep.ends)
    parts += [f"{failed} of {len(sweep.ends)} runs did not finish"] if failed else []
    num = len(find_concerns(sweep))
    parts.append(f"{num} warning{'s' * (num != 1)} below" if num else "no warnings")
    return "; ".join(parts) + "."


def _say_interval(label: str, pairs: Sequence[tuple[Arena, Entry]]) -> str | None:
    found = [
        (arena, effect.interval)
        for arena, entry in pairs
        if (effect := entry.judgement.effect) is not None and effect.interval is not None
    ]
    # A difference and a ratio share no axis.
    if not found or len({scale_of(arena)[0] for arena, _ in found}) > 1:
        return None
    ends = min(low for _, (low, _) in found), max(high for _, (_, high) in found)
    return f"{label} {format_range(found[0][0], ends)}"


def _say_cost(suite: Suite, reference: str, others: Sequence[str]) -> str:
    pairs: dict[str, list[tuple[Cell, Cell]]] = {label: [] for label in others}
    bases: list[Cell] = []
    for row in suite.rows:
        base = next((entry for entry in row.entries.values() if entry.judgement.is_reference), None)
        if base is None:
            continue
        bases.append(base.judgement.cell)
        for label in others:
            if label in row.entries and row.entries[label] is not base:
                pairs[label].append((row.entries[label].judgement.cell, base.judgement.cell))
    alike: dict[str, list[str]] = {}
    for label in others:
        if ratios := _say_ratios(pairs[label]):
            alike.setdefault(ratios, []).append(label)
    said = [f"{name_some(labels, _MAX_NAMED)} {ratios}" for ratios, labels in alike.items()]
    rest = len(said) - _MAX_NAMED
    shown = "; ".join(said[:_MAX_NAMED]) + (f"; {rest} more below" if rest > 0 else "")
    own = _say_own(bases[0]) if len(suite.rows) == 1 and bases else ""
    if not said:
        return f"A step of {reference} takes {own}." if own else ""
    return f"Against a step of {reference}{f' ({own})' if own else ''}: {shown}."


def _say_own(cell: Cell) -> str:
    seconds = step_s(cell)
    parts = [] if seconds is None else [f"{1e3 * seconds:.3g} ms"]
    if cell.cost is not None and cell.cost.peak_bytes is not None:
        unit, size = choose_unit([cell.cost.peak_bytes])
        parts.append(f"{cell.cost.peak_bytes / size:.3g} {unit}")
    return ", ".join(parts)


def _say_ratios(pairs: Sequence[tuple[Cell, Cell]]) -> str:
    paces = [pace for mine, base in pairs if (pace := compare_steps(mine, base)) is not None]
    peaks = [
        mine.cost.peak_bytes / base.cost.peak_bytes
        for mine, base in pairs
        if mine.cost and base.cost and mine.cost.peak_bytes and base.cost.peak_bytes
    ]
    parts = [_say_paces(paces)] if paces else []
    parts += [f"{_span(peaks)}x peak memory"] if peaks else []
    return ", ".join(parts)


def _say_paces(paces: Sequence[Pace]) -> str:
    noise = " (within noise)" if all(pace.is_noise for pace in paces) else ""
    return f"{_span([pace.ratio for pace in paces])}x time{noise}"


def _span(values: Sequence[float]) -> str:
    ends = [f"{value:.2f}" if value < 10 else f"{value:.3g}" for value in (min(values), max(values))]
    return "-".join(dict.fromkeys(ends))
