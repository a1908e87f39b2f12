"""The learning rate over a run: one pure function of the step, so a resumed run can't drift."""

from __future__ import annotations

import math

from bench.errors import SpecError
from bench.spec import Schedule


def check_schedule(schedule: Schedule) -> None:
    """Refuse a schedule whose fields don't go together.

    Raises:
        SpecError: wsd without a decay, a decay without wsd, no room for warm-up and decay, or an exponential
            rise from 0 or after a warm-up.
    """
    if schedule.name == "exponential" and (schedule.floor == 0 or schedule.warmup > 0):
        raise SpecError(
            "schedule.floor: exponential rises from a floor > 0 and without a warm-up, "
            f"got {schedule.floor:g} with {schedule.warmup:g}"
        )
    if schedule.name != "wsd":
        if schedule.decay is not None:
            raise SpecError(f"schedule.decay: only wsd has it, got {schedule.decay:g} with {schedule.name}")
    elif schedule.decay is None:
        raise SpecError("schedule.decay: wsd wants a share of all steps, got null")
    elif schedule.warmup + schedule.decay > 1:
        raise SpecError(
            f"schedule.decay: wants at most 1 - schedule.warmup, {1 - schedule.warmup:g}, "
            f"got {schedule.decay:g}"
        )


def lr_factor(schedule: Schedule, step: int, num_steps: int, steps_per_epoch: int) -> float:
    """Return the share of the peak learning rate used at one step.

    The warm-up rises linearly over `warmup * num_steps` steps and reaches 1 at its last one; the decay then
    runs from 1 at the first step after it towards `floor`, which it would reach at step `num_steps`. Under
    wsd (warm-up, stable, decay) the factor stays at 1 until the last `decay * num_steps` steps. The
    exponential one is no schedule to train by: it rises from `floor` at the first step to 1 at the last, by
    the same factor each step, which is what a range test does (`lr_range.py`).

    Source of wsd: Hu et al., 2024, arXiv 2404.06395, equation 1. Its decay is Hägele et al.'s, 2024, arXiv
    2405.18392: one minus the square root of the share of the decay that has passed.
    Deviation: it ends at `floor`, as the other schedules do.

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
    start = num_warmup
    if schedule.decay is not None:
        start = max(start, num_steps - round(schedule.decay * num_steps))
    progress = max(0, step - start) / max(1, num_steps - start)
    match schedule.name:
        case "exponential":
            return math.pow(schedule.floor, 1.0 - step / max(1, num_steps - 1))
        case "constant":
            return 1.0
        case "linear":
            share = 1.0 - progress
        case "cosine":
            share = 0.5 * (1.0 + math.cos(math.pi * progress))
        case "wsd":
            share = 1.0 - math.sqrt(progress)
    return schedule.floor + (1.0 - schedule.floor) * share


def lr_factors(schedule: Schedule, num_steps: int, steps_per_epoch: int) -> list[float]:
    """Return `lr_factor` for every step of a run, shape (num_steps,)."""
    return [lr_factor(schedule, step, num_steps, steps_per_epoch) for step in range(num_steps)]
