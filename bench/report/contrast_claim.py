"""Which claim the effect of each level carries, beside those of all other levels of its task."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bench.report.contrast import Contrast
from bench.report.factor import Task
from bench.report.variant import COST_KEYS
from bench.report.verdict import claim_level, find_veto
from bench.stats import decide


@dataclass(frozen=True, kw_only=True)
class Ruling:
    """What may be said of one contrast."""

    # In the words of the arenas: better, worse, tied, leaning, inconclusive, no claim, unstable.
    verdict: str
    # Adjusted over the contrasts of the task; None where nothing was tested.
    p_holm: float | None

    @property
    def is_tied(self) -> bool:
        """Whether the loss is the baseline's, within the margin at least."""
        return self.verdict.startswith(("tied", "identical"))


def rule(task: Task, contrasts: Sequence[Contrast]) -> tuple[Ruling, ...]:
    """Return the rulings on a task's contrasts, in their order.

    Losses that are equal to the last bit (recomputed activations) are one algorithm run twice: they are no
    comparison, and no other has to pay for them in the adjustment.
    """
    effects = {
        str(index): each.effect
        for index, each in enumerate(contrasts)
        if each.effect is not None and each.is_whole and not each.is_identical
    }
    margin = task.arena.study.workload.margin
    claims = decide(effects, margin, claim_level(task.arena, effects))
    rulings = []
    for index, each in enumerate(contrasts):
        claim = claims.get(str(index))
        word = _weigh(each, claim.word if claim is not None else None)
        rulings.append(Ruling(verdict=word, p_holm=claim.p_holm if claim is not None else None))
    return tuple(rulings)


def is_flat(task: Task, contrasts: Sequence[Contrast]) -> bool:
    """Return whether contrasts move the loss in its last bits at most: a hundredth of the margin is none."""
    margin = 0.01 * task.arena.study.workload.margin
    effects = [each.effect for each in contrasts]
    bounds = [
        bound
        for effect in effects
        for bound in ((effect.interval or (effect.mean,)) if effect is not None else (math.inf,))
    ]
    return all(abs(bound) <= margin for bound in bounds)


def _weigh(each: Contrast, word: str | None) -> str:
    if each.num_diverged and not each.num_baseline_diverged:
        return f"unstable ({each.num_diverged}/{each.num_runs} diverged)"
    if not each.is_whole or each.effect is None:
        return "no claim (runs lost)"
    if each.is_identical:
        return "identical"
    if word is None:
        return f"no claim (n={each.effect.n})"
    if word not in ("tied", "inconclusive"):
        is_better = word.endswith("better")
        vetoes = [find_veto(*(pair[::-1] if is_better else pair)) for pair in each.pairs]
        veto = next((veto for veto in vetoes if veto is not None), None)
        if veto is not None:
            return f"no claim ({veto})"
    is_tuned = all(cell.search is not None for pair in each.pairs for cell in pair)
    # How a step is computed asks for no other lr; a listed lr is what is compared.
    is_about_lr = each.factor.key in (*COST_KEYS, "precision", "optimizer.lr")
    return word + ("" if is_tuned or is_about_lr else ", untuned lr")
