"""Rules for a training that learned something: too little, too closely, or too roughly."""

from __future__ import annotations

from itertools import pairwise

from bench.diagnosis.facts import Facts, from_to, is_gradual
from bench.diagnosis.remedy import bound, scale_lr
from bench.health import Diagnosis, Health
from bench.result import Result


def find_overfitting(facts: Facts, health: Health) -> Diagnosis | None:
    best_step, best = min(facts.val, key=lambda point: point[1])
    last_step, last = facts.val[-1]
    # Rising from next to nothing by next to nothing is none: noise around a minimum, not a turn.
    rise, floor = last - best, max(abs(best), 0.01 * abs(facts.start))
    if rise <= health.overfitting * floor:
        return None
    before = [loss for step, loss in facts.train if step <= best_step]
    since = [loss for step, loss in facts.train if step > best_step]
    if not since or not before or before[-1] - since[-1] <= health.overfitting * max(abs(before[-1]), 1e-12):
        return None
    # A turn lasts: of the points since, most lie above the best by more than the line.
    later = [loss for step, loss in facts.val if step > best_step]
    if sum(loss - best > health.overfitting * floor for loss in later) * 2 < len(later):
        return None
    never = facts.share(best) < health.flat
    return Diagnosis(
        kind="overfitting",
        evidence=f"validation was lowest at step {best_step} ({best:.3g}) and ended at {last:.3g}, while "
        f"training fell from {before[-1]:.3g} to {since[-1]:.3g}"
        + f"; before training it was {facts.start:.3g}"
        * never,
        advice="Nothing that was learned holds for other rows: labels may belong to other inputs; look at "
        "the data with do=check."
        if never
        else "Weight decay, dropout, an average of the weights, more data; or stop where it was lowest.",
        overrides={"do": "check"} if never else {"horizons": f"{max(0.01, best_step / last_step):.2g}"},
    )


def find_noise(result: Result, facts: Facts, health: Health) -> Diagnosis | None:
    losses = [facts.start, *(loss for _, loss in facts.train)]
    fall = facts.start - losses[-1]
    rises = sum(max(0.0, after - before) for before, after in pairwise(losses))
    if fall <= 0 or rises <= health.noisy * fall:
        return None
    top_step, top = max(facts.train, key=lambda point: point[1])
    # Where next to nothing was learned, any noise is as large.
    if facts.share(losses[-1]) < health.little and top <= health.exploding * abs(facts.start):
        return None
    peak = f"; it was {top:.3g} at step {top_step}" if top > facts.start else ""
    return Diagnosis(
        kind="noisy",
        evidence=f"training loss rose by {rises:.3g} in all while it fell by {fall:.3g}{peak}",
        advice="The lr is high for this batch size: a lower lr, a larger batch, a warm-up, or a bound on the "
        "gradient.",
        overrides=scale_lr(result, 1 / 3) | bound(result),
    )


def find_underfit(result: Result, facts: Facts, health: Health) -> Diagnosis | None:
    last = facts.val[-1][1]
    fall = facts.share(last)
    if fall < health.little:
        is_slow = is_gradual(facts)
        return Diagnosis(
            kind="underfit",
            evidence=f"validation {from_to(facts.start, last)}: {fall:.1%} of the loss before training",
            advice="It fell step by step, but little: a higher lr, or more steps."
            if is_slow
            else "It stopped falling early: another lr (search=lr finds it), or a larger model.",
            overrides=scale_lr(result, 3.0) if is_slow else {"search": "lr"},
        )
    at = 0.75 * facts.val[-1][0]
    before = min(facts.val, key=lambda point: abs(point[0] - at))
    late = (before[1] - last) / (facts.start - last)
    is_quarter = before[0] < facts.val[-1][0]
    if not is_quarter or late <= health.late or facts.train[-1][1] > before[1]:
        return None
    return Diagnosis(
        kind="underfit",
        evidence=f"validation still falls: {late:.0%} of its fall came after step {before[0]}, "
        f"from {before[1]:.3g} to {last:.3g}",
        advice="It was stopped early: more steps, or a higher lr.",
        overrides={"horizons": "2"},
    )
