"""What must be known before any number of cost: what disagrees, shakes, or is of something else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from bench.cost import Formats
from bench.report.alone import name_some
from bench.report.decay import set_key
from bench.report.memory_tables import compare_prediction
from bench.report.metered import Metered, find_metered
from bench.report.pace import noise_of
from bench.report.sweep import Arena, Cell, Concern, Sweep
from bench.report.variant import show_precision

# Prediction and measurement further apart than this, or a reference step further from itself, are warned of.
_MAX_GAP, _MAX_NOISE = 0.05, 0.05
# The loss scaler finds its scale in the first steps; more skipped steps than this are lost training.
_MAX_SKIPPED = 0.02
_CAREFUL = "lab"
# Weights and gradients by precision; autocast leaves them, and losses, in fp32.
_HELD = {"bf16_pure": "bfloat16"}
_AUTOCAST = {"bf16": "bfloat16", "fp16": "float16"}
_LOW = {"bfloat16", "float16"}


def find_cost_concerns(sweep: Sweep) -> Iterable[Concern]:
    """Return the warnings on what was measured, and on the formats that the runs were found in."""
    rows = [row for row in find_metered(sweep) if row.cost is not None]
    finders: tuple[Callable[[Sweep, Sequence[Metered]], Iterable[Concern]], ...] = (
        _find_wrong_prediction,
        _find_noise,
        _find_throttled,
    )
    for find in finders:
        yield from find(sweep, rows)
    cells = [(arena, cell) for arena in sweep.arenas for cell in arena.all_cells if cell.obstacle is None]
    yield from _find_skipped(sweep, cells)
    yield from _find_other_formats(sweep, cells)


def _find_wrong_prediction(sweep: Sweep, rows: Sequence[Metered]) -> Iterable[Concern]:
    gaps = {
        _name(row.arena, row.cell): ratio - 1
        for row in rows
        if row.cost is not None
        and (ratio := compare_prediction(row.cost)) is not None
        and not (row.cost.predicted and row.cost.predicted.is_lower_bound)
        and abs(ratio - 1) > _MAX_GAP
    }
    if gaps:
        names, worst = list(gaps), max(gaps.values(), key=abs)
        yield Concern(
            brief=f"predicted and measured peak up to {100 * worst:+.0f} % apart: {name_some(names, 2)}; "
            f"meter={_CAREFUL} measures again",
            text=f"Predicted and measured peak memory differ by up to {100 * worst:+.0f} %: "
            f"{name_some(names)}. One of the two is wrong, so neither these peaks nor do=predict for such "
            "cells can be relied on. To measure again, with care:",
            command=set_key(sweep.manifest.command, "meter", _CAREFUL),
        )


def _find_noise(sweep: Sweep, rows: Sequence[Metered]) -> Iterable[Concern]:
    noises = {
        _name(row.arena, row.cell): noise
        for row in rows
        if row.timed is not None and (noise := noise_of(row.timed)) is not None and noise > _MAX_NOISE
    }
    if noises:
        names, worst = list(noises), max(noises.values())
        yield Concern(
            brief=f"A/A noise up to {100 * worst:.0f} %: {name_some(names, 2)}; step times closer than that "
            f"are equal; quiet the machine, meter={_CAREFUL}",
            text=f"A/A noise: the reference step lay up to {100 * worst:.0f} % from itself beside "
            f"{name_some(names)}. Step times closer than that can't be told apart. On a quiet machine, with "
            "more and longer rounds:",
            command=set_key(sweep.manifest.command, "meter", _CAREFUL),
        )


def _find_throttled(sweep: Sweep, rows: Sequence[Metered]) -> Iterable[Concern]:
    slowed = [row for row in rows if row.cost and row.cost.clocks and row.cost.clocks.throttle_reasons]
    if slowed:
        names = [_name(row.arena, row.cell) for row in slowed]
        reasons = dict.fromkeys(
            reason
            for row in slowed
            if row.cost and row.cost.clocks
            for reason in row.cost.clocks.throttle_reasons
        )
        why = ", ".join(reasons)
        yield Concern(
            brief=f"throttled ({why}): {name_some(names, 2)}; their step times are of a slowed device; "
            f"meter={_CAREFUL}",
            text=f"The device slowed down ({why}) while {name_some(names)} was measured: ratios to the "
            "reference step hold, as both were slowed, but milliseconds and throughput are those of a "
            "slowed device. Once it is cool or has its power back:",
            command=set_key(sweep.manifest.command, "meter", _CAREFUL),
        )


def _find_skipped(sweep: Sweep, cells: Sequence[tuple[Arena, Cell]]) -> Iterable[Concern]:
    shares: dict[str, float] = {}
    for arena, cell in cells:
        counts = [
            end.result.num_skipped_steps / end.result.num_steps
            for end in cell.ends
            if end.result is not None and end.result.num_steps
        ]
        if counts and max(counts) > _MAX_SKIPPED:
            shares[_name(arena, cell)] = max(counts)
    if shares:
        names, worst = list(shares), max(shares.values())
        yield Concern(
            brief=f"fp16 skipped up to {100 * worst:.0f} % of steps: {name_some(names, 2)}: less training "
            "than the others had; precision=bf16",
            text=f"The loss scaler skipped up to {100 * worst:.0f} % of the steps of a run, as gradients "
            f"overflowed in fp16: {name_some(names)}. These had less training than the others, so a higher "
            "loss is not the optimizer's doing. bf16 has no such limit:",
            command=set_key(sweep.manifest.command, "precision", "bf16"),
        )


def _find_other_formats(sweep: Sweep, cells: Sequence[tuple[Arena, Cell]]) -> Iterable[Concern]:
    found: dict[str, list[tuple[Arena, Cell]]] = {}
    for arena, cell in cells:
        formats = next((end.result.formats for end in cell.ends if end.result and end.result.formats), None)
        formats = formats or (cell.cost.formats if cell.cost is not None else None)
        wrong = describe_wrong(show_precision(cell), formats) if formats is not None else None
        if wrong is not None:
            found.setdefault(wrong, []).append((arena, cell))
    for wrong, members in found.items():
        names = [_name(*member) for member in members]
        asked = show_precision(members[0][1])
        # What the weights are in is what was trained.
        remedy = "bf16_pure" if "weights in bfloat16" in wrong else "fp32"
        yield Concern(
            brief=f"not {asked} as asked: {wrong}: {name_some(names, 2)}; precision={remedy}",
            text=f"Not the formats that precision={asked} means: {wrong}, in {name_some(names)}. Something "
            "in the model or the optimizer casts by itself, so loss, time and memory of these are not of "
            f"{asked}. A precision that can be held:",
            command=set_key(sweep.manifest.command, "precision", remedy),
        )


def describe_wrong(precision: str, formats: Formats) -> str | None:
    """Return how the formats that were found differ from what a precision means; None where they don't."""
    held, autocast = _HELD.get(precision, "float32"), _AUTOCAST.get(precision)
    parts = [
        f"{name} in {', '.join(other)}"
        for name, kinds in (("weights", formats.weights), ("gradients", formats.gradients))
        if (other := [kind for kind in kinds if kind != held])
    ]
    if precision != "bf16_pure":
        parts += [
            f"{name} in {', '.join(low)}"
            for name, kinds in (("loss", formats.loss), ("optimizer state", formats.state))
            if (low := [kind for kind in kinds if kind in _LOW])
        ]
    if formats.autocast != autocast:
        parts.append(f"autocast {formats.autocast or 'off'}")
    if formats.is_tf32 is not None and formats.is_tf32 != (precision == "tf32"):
        parts.append(f"TF32 {'on' if formats.is_tf32 else 'off'}")
    return "; ".join(parts) or None


def _name(arena: Arena, cell: Cell) -> str:
    return f"{arena.name}/{cell.label}"
