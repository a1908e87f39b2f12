"""The learning rate over a run: one pure function of the step, so a resumed run can't drift."""

from __future__ import annotations

import math

from bench.spec import Schedule


def lr_factor(schedule: Schedule, step: int, num_steps: int, steps_per_epoch: int) -> float:
    """Return the share of the peak learning rate used at one step.

    The warm-up rises linearly over `warmup * num_steps` steps and reaches 1 at its last one; the decay then
    runs from 1 at the first step after it towards `floor`, which it would reach at step `num_steps`.

    Args:
        schedule: Shape, warm-up share, floor, and whether lr changes each step or each epoch.
        step: Counted from 0.
        num_steps: Length of the run.
        steps_per_epoch: Optimizer steps in one pass over the training items.

    Returns:
        A number in [0, 1]; above 0 at every step when `floor` is, or when decay is per step.
    """
    if schedule.interval == "epoch":
        step = step // steps_per_epoch * steps_per_epoch
    num_warmup = round(schedule.warmup * num_steps)
    if step < num_warmup:
        return (step + 1) / num_warmup
    progress = (step - num_warmup) / max(1, num_steps - num_warmup)
    match schedule.name:
        case "constant":
            return 1.0
        case "linear":
            share = 1.0 - progress
        case "cosine":
            share = 0.5 * (1.0 + math.cos(math.pi * progress))
    return schedule.floor + (1.0 - schedule.floor) * share


def lr_factors(schedule: Schedule, num_steps: int, steps_per_epoch: int) -> list[float]:
    """Return `lr_factor` for every step of a run, shape (num_steps,)."""
    return [lr_factor(schedule, step, num_steps, steps_per_epoch) for step in range(num_steps)]
