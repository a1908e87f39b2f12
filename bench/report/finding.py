"""What the factors of a sweep come to, in sentences: each with its interval, its pairs and its price."""

from __future__ import annotations

from collections.abc import Sequence

from bench.report.best import Contest, Match
from bench.report.choice import Choice
from bench.report.contrast import Contrast, format_effect, list_contrasts
from bench.report.contrast_claim import Ruling, rule
from bench.report.factor import Task, find_tasks
from bench.report.pace import format_pace
from bench.report.power import format_gap
from bench.report.sweep import Sweep
from bench.report.variant import COST_KEYS
from bench.report.verdict import format_range, scale_of


def say_factors(sweep: Sweep) -> tuple[str, ...]:
    """Return what every varied setting of a sweep does: its answer where only one optimizer ran."""
    return tuple(
        sentence for task in find_tasks(sweep) for sentence in say_contrasts(task, list_contrasts(task))
    )


def say_prices(sweep: Sweep) -> tuple[str, ...]:
    """Return what precision, recomputing, compiling and implementations do, for each task's reference."""
    said = []
    for task in find_tasks(sweep):
        contrasts = list_contrasts(task)
        optimizer = task.arena.reference.study.optimizer.name
        said += [
            _say_price(task, each, ruling)
            for each, ruling in zip(contrasts, rule(task, contrasts), strict=True)
            if each.optimizer == optimizer and each.factor.key in (*COST_KEYS, "precision")
        ]
    return tuple(said)


def say_contrasts(task: Task, contrasts: Sequence[Contrast]) -> tuple[str, ...]:
    """Return one sentence per optimizer and factor, those that lower the loss most first."""
    groups: dict[tuple[str, str], list[Contrast]] = {}
    prices: list[tuple[float, str]] = []
    for each, ruling in zip(contrasts, rule(task, contrasts), strict=True):
        if each.factor.key in (*COST_KEYS, "precision"):
            prices.append((_lowest([each]), _say_price(task, each, ruling)))
        else:
            groups.setdefault((each.optimizer, each.factor.name), []).append(each)
    said = sorted([*((_lowest(group), _say(task, group)) for group in groups.values()), *prices])
    return tuple(sentence for _, sentence in said)


def say_contest(task: Task, contest: Contest) -> tuple[str, ...]:
    """Return one sentence per optimizer against the reference, each at the best of its listed settings."""
    absent = [
        f"On {contest.name}, no listed setting of {optimizer} finished on every seed."
        for optimizer in contest.absent
    ]
    return (*(_say_match(task, contest, match) for match in contest.matches), *absent)


def describe_verdict(match: Match) -> str:
    """Return what may be claimed of a match, in the words of the arenas, and what it was not tuned for."""
    word: str = match.claim.word if match.claim is not None else "no claim"
    if match.veto is not None:
        word = f"no claim ({match.veto})"
    sides = (match.choice, match.reference)
    is_tuned = all(side.cell.search is not None or side.has_listed("optimizer.lr") for side in sides)
    is_final = all(side.cell.search is None or side.cell.search.is_final for side in sides)
    return word + ("" if is_tuned else ", untuned lr") + ("" if is_final else ", preliminary")


def _lowest(group: Sequence[Contrast]) -> float:
    return min((each.effect.mean for each in group if each.effect is not None), default=0.0)


def _say(task: Task, group: Sequence[Contrast]) -> str:
    optimizer, factor = group[0].optimizer, group[0].factor
    start = f"On {task.name}, {optimizer}, {factor.name}"
    # An effect over the combinations that went well would flatter its level.
    whole = [each for each in group if each.is_whole]
    left_out = [each.level for each in group if not each.is_whole]
    gap = f"; left out, since runs diverged or failed: {', '.join(left_out)}" if left_out else ""
    found = sorted(whole, key=lambda each: (each.effect.mean if each.effect else 0.0, each.level))
    if not found:
        return f"{start}: no level can be compared with {factor.baseline}, since runs diverged or failed."
    best = found[0]
    assert best.effect is not None
    if best.effect.interval is None:
        listed = ", ".join(_show(task, each) for each in found)
        return f"{start}: against {factor.baseline}, {listed}; no interval at n = {best.effect.n} seeds{gap}."
    if best.effect.interval[1] < 0:
        of = f", the best of {len(group)} levels," if len(group) > 1 else ""
        return (
            f"{start}: {best.level}{of} instead of {factor.baseline} lowers the final validation loss: "
            f"{format_effect(task, best.effect)}, {_count(best)}{_price(best)}{gap}."
        )
    listed = ", ".join(_show(task, each) for each in found)
    raises = all(each.effect and each.effect.interval and each.effect.interval[0] > 0 for each in found)
    what = (
        "every level raises the final validation loss"
        if raises
        else "no level is resolved to lower the final validation loss"
    )
    return f"{start}: {what} against {factor.baseline}: {listed}; {_count(best)}{gap}."


def _say_price(task: Task, each: Contrast, ruling: Ruling) -> str:
    """Return what another way of computing a step does to the loss, and to the cost."""
    start = (
        f"On {task.name}, {each.optimizer}, {each.factor.name} {each.level} instead of {each.factor.baseline}"
    )
    if each.effect is None or not each.is_whole:
        return f"{start}: {ruling.verdict}{_price(each)}."
    if each.is_identical:
        return (
            f"{start} gives the same final validation losses to the last bit, {_count(each)}{_price(each)}."
        )
    effect = format_effect(task, each.effect)
    if ruling.is_tied:
        held = f"leaves the final validation loss within the margin: {effect}"
        return f"{start} {held}, {_count(each)}{_price(each)}."
    return f"{start}, final validation loss {ruling.verdict}: {effect}, {_count(each)}{_price(each)}."


def _show(task: Task, each: Contrast) -> str:
    assert each.effect is not None
    return f"{each.level} {format_effect(task, each.effect)}"


def _count(each: Contrast) -> str:
    assert each.effect is not None
    num = len(each.singles)
    return f"n = {each.effect.n} paired seeds" + (f", each over {num} combinations" if num > 1 else "")


def _price(each: Contrast) -> str:
    parts = []
    if each.time is not None:
        parts.append(f"{format_pace(each.time).replace(', within noise', '')}x the step time")
        parts[-1] += " (within noise)" * each.time.is_noise
    if each.memory_ratio is not None:
        parts.append(f"{each.memory_ratio:.2g}x the peak memory")
    silence = f"; {each.time_obstacle}" if each.time is None and each.time_obstacle else ""
    return (f", at {' and '.join(parts)}" if parts else "") + silence


def _say_match(task: Task, contest: Contest, match: Match) -> str:
    who, reference = match.choice, match.reference
    counts = dict.fromkeys((who.num_tried, reference.num_tried))
    start = f"On {contest.name}, each at its best of {' or '.join(map(str, counts))} listed settings"
    verdict = describe_verdict(match)
    if match.effect is None or match.effect.interval is None:
        return f"{start}, {who.label} against {reference.label}: {verdict}."
    unit, convert = scale_of(task.arena)
    pairs = f"n = {match.effect.n} paired seeds"
    interval = f"95 % interval {format_range(task.arena, match.effect.interval)}, {pairs}"
    word = verdict.partition(",")[0]
    if word in ("better", "worse"):
        size = f"{format_gap(abs(convert(match.effect.mean)))}{unit}"
        side = "lower" if match.effect.mean < 0 else "higher"
        claim = f"{who.label} reached a {size} {side} final validation loss than {reference.label}"
        return f"{start}, {claim}: {interval}; {verdict} (exploratory){_doubt(who, reference)}."
    claim = f"{who.label} against {reference.label}"
    return f"{start}, {claim}: {verdict} (exploratory; {interval}){_doubt(who, reference)}."


def _doubt(*choices: Choice) -> str:
    """Return for how many seeds the other seeds chose another setting, where any did."""
    parts = [
        f"{len(each.losses) - each.num_agreed} of {len(each.losses)} seeds of {each.grid.optimizer}"
        for each in choices
        if each.num_agreed < len(each.losses)
    ]
    return f"; for {' and '.join(parts)} the other seeds chose another setting" if parts else ""
