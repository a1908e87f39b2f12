"""What a stored curve says of its training: the first rule that applies, in a fixed order."""

from __future__ import annotations

from bench.diagnosis.facts import collect, from_to
from bench.diagnosis.fit import find_noise, find_overfitting, find_underfit
from bench.diagnosis.stability import find_explosion, find_flat, find_vanishing, judge_divergence
from bench.health import Diagnosis, Health, Watch
from bench.result import Result


def diagnose(result: Result, health: Health, watch: Watch | None = None) -> Diagnosis:
    """Return what a run's curve says of its training.

    Args:
        result: Of a run that settled; of any other nothing is said.
        health: Where the lines are drawn.
        watch: What was sampled of its gradients; None: they were not watched.

    Returns:
        One diagnosis: the first rule that applies, in the order in which they stand here.
    """
    if result.status not in ("finished", "diverged"):
        return Diagnosis(kind="unclear", evidence=f"the run ended as {result.status}")
    facts = collect(result)
    if result.status == "diverged":
        return judge_divergence(result, facts)
    if facts is None or len(facts.val) < health.min_points or not facts.train:
        return Diagnosis(kind="unclear", evidence=f"fewer than {health.min_points} evaluations")
    return (
        find_explosion(result, facts, health, watch)
        or find_vanishing(health, watch)
        or find_flat(result, facts, health)
        or find_overfitting(facts, health)
        or find_noise(result, facts, health)
        or find_underfit(result, facts, health)
        or Diagnosis(kind="healthy", evidence=f"validation {from_to(facts.start, facts.val[-1][1])}")
    )
