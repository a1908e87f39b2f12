"""Rules for a training that did not get off the ground, or did not stay on it."""

from __future__ import annotations

import math

from bench.diagnosis.facts import Facts, from_to, is_gradual, total_norms
from bench.diagnosis.remedy import bound, calm, scale_lr, widen_format
from bench.health import Diagnosis, Health, Watch
from bench.result import Result


def judge_divergence(result: Result, facts: Facts | None) -> Diagnosis:
    """Tell a loss that ran away from the first step on from one that fell first, and then was no number."""
    at = result.detail or "a loss was not finite"
    known = [] if facts is None else [loss for _, loss in facts.train + facts.val]
    # Two evaluations that found nothing amiss, and no loss beyond the one before training.
    is_stable = (
        facts is not None and len(facts.val) >= 2 and max(known) <= facts.start + 0.1 * abs(facts.start)
    )
    if facts is None or not is_stable or facts.share(facts.val[-1][1]) <= 0:
        top = max(known, default=math.nan)
        rose = f", after rising from {facts.start:.3g} to {top:.3g}" if facts and top > facts.start else ""
        return Diagnosis(kind="exploding", evidence=at + rose, **calm(result))
    return Diagnosis(
        kind="diverged",
        evidence=f"{at}, after validation {from_to(facts.start, facts.val[-1][1])}",
        advice="It was stable until then: one bad batch, an overflow of the number format, or an update "
        "without a bound. Bound the gradient, look at the data; where the format is a half one, try fp32.",
        overrides=bound(result) | widen_format(result),
    )


def find_explosion(result: Result, facts: Facts, health: Health, watch: Watch | None) -> Diagnosis | None:
    step, last = facts.train[-1]
    if last > health.exploding * abs(facts.start) and last > facts.start:
        evidence = f"training loss rose from {facts.start:.3g} to {last:.3g} at step {step}"
        return Diagnosis(kind="exploding", evidence=evidence, **calm(result))
    norms = total_norms(watch)
    if len(norms) >= 2 and norms[-1][1] > max(health.gradient_norm, norms[0][1]):
        evidence = f"gradient norm rose from {norms[0][1]:.3g} to {norms[-1][1]:.3g} at step {norms[-1][0]}"
        return Diagnosis(kind="exploding", evidence=evidence, **calm(result))
    return None


def find_vanishing(health: Health, watch: Watch | None) -> Diagnosis | None:
    rows = (
        [] if watch is None else [row for row in watch.gradient_norm if len(row) >= 2 and row[0] and row[-1]]
    )
    if watch is None or not rows:
        return None
    ratios = sorted(row[0] / row[-1] for row in rows if row[0] is not None and row[-1])
    middle = ratios[len(ratios) // 2]
    if middle >= health.vanishing:
        return None
    return Diagnosis(
        kind="vanishing",
        evidence=f"the gradient of {watch.layers[0]} is {middle:.1g} of that of {watch.layers[-1]}",
        advice="The first layers learn nothing: relu or gelu for sigmoid and tanh, residual connections or a "
        "norm, fewer layers, or another initialisation.",
    )


def find_flat(result: Result, facts: Facts, health: Health) -> Diagnosis | None:
    falls = [facts.share(facts.train[-1][1]), facts.share(min(loss for _, loss in facts.val))]
    if max(falls) >= health.flat:
        return None
    skipped = result.num_skipped_steps
    evidence = (
        f"loss {from_to(facts.start, facts.train[-1][1])}: {max(falls):.1%} in {result.num_steps} steps"
    )
    if skipped > result.num_steps / 10:
        return Diagnosis(
            kind="flat",
            evidence=f"{evidence}; {skipped} steps were skipped as gradients overflowed",
            advice="The number format is too narrow here: bf16 has the range of fp32.",
            overrides={"precision": "bf16"},
        )
    top = max(loss for _, loss in facts.train)
    if facts.share(top) < -health.flat:
        return Diagnosis(kind="flat", evidence=f"{evidence}, after rising to {top:.3g}", **calm(result))
    if is_gradual(facts):
        advice = "It falls step by step, so the lr is too low."
        return Diagnosis(kind="flat", evidence=evidence, advice=advice, overrides=scale_lr(result, 10.0))
    return Diagnosis(
        kind="flat",
        evidence=f"{evidence}, without a trend",
        advice="The lr is far off, or nothing can be learned: look at the data with do=check, at the model "
        "(saturated or dead units, no gradient to the first layers), and search the lr.",
        overrides={"search": "lr"},
    )
