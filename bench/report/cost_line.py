"""What a sweep says of cost in few words: a sentence for the card, a line for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from bench.report.contrast import Contrast, list_contrasts
from bench.report.contrast_claim import Ruling, rule
from bench.report.escape import clean, measure
from bench.report.factor import find_tasks
from bench.report.heading import MAX_COLUMNS, shorten_line
from bench.report.memory_tables import choose_unit
from bench.report.pace import compare_steps, find_obstacle, format_pace, noise_of, step_s
from bench.report.sweep import Arena, Cell, Sweep
from bench.report.tables import scale_count
from bench.report.variant import COST_KEYS

# More than these are what the tables are for.
_MAX_NAMED = 4
_MAX_LINES = 2


def say_cost(arena: Arena) -> str | None:
    """Return what a step of an arena's reference costs, and the others against it; None without a figure."""
    reference = arena.reference
    own = _say_own(arena, reference)
    if own is None:
        return None
    others = [
        said
        for cell in arena.cells
        if cell is not reference and (said := _say_other(cell, reference)) is not None
    ]
    rest = len(others) - _MAX_NAMED
    shown = "; ".join(others[:_MAX_NAMED]) + (f" and {rest} more" if rest > 0 else "")
    against = f" Against it, {shown}." if others else ""
    return f"On {arena.name}, a step of {reference.label} {own}.{against}"


def write_price_line(sweep: Sweep) -> list[str]:
    """Return what precision, recomputing, compiling and implementations cost, in two lines at most.

    Of the reference's optimizer in the first task; none where no such setting was varied.
    """
    for task in find_tasks(sweep):
        contrasts = list_contrasts(task)
        optimizer = task.arena.reference.study.optimizer.name
        priced = [
            (each, ruling)
            for each, ruling in zip(contrasts, rule(task, contrasts), strict=True)
            if each.factor.key in (*COST_KEYS, "precision")
            and each.optimizer == optimizer
            and (each.time is not None or each.memory_ratio is not None)
        ]
        if priced:
            return _join(optimizer, priced)
    return []


def write_noise_line(arenas: Sequence[Arena]) -> list[str]:
    """Return what step times can't tell apart, as a line of the terminal; none without an A/A measurement."""
    cells = [cell for arena in arenas for cell in arena.cells if step_s(cell) is not None]
    noises = [noise for cell in cells if cell.cost is not None and (noise := noise_of(cell.cost)) is not None]
    if len(cells) < 2 or not noises:
        return []
    return [f"step times closer than {100 * max(noises):.2g} % are equal (A/A noise)"]


def _say_own(arena: Arena, cell: Cell) -> str | None:
    cost, seconds = cell.cost, step_s(cell)
    if cost is None:
        return None
    parts = []
    if seconds is not None:
        unit, (rate,) = scale_count([cost.items_per_s], f"{arena.study.data.item}s/s")
        parts.append(f"takes {1e3 * seconds:.3g} ms" + (f" ({rate:.3g} {unit})" if rate is not None else ""))
    if cost.peak_bytes is not None:
        unit, size = choose_unit([cost.peak_bytes])
        parts.append(f"needs {cost.peak_bytes / size:.3g} {unit} at its peak")
    if not parts:
        return None
    obstacle = find_obstacle(cell)
    return " and ".join(parts) + (f" ({obstacle})" if obstacle else "")


def _say_other(cell: Cell, reference: Cell) -> str | None:
    pace, parts = compare_steps(cell, reference), []
    if pace is not None:
        parts.append(f"{_format_bare(pace.ratio)}x the time" + " (within noise)" * pace.is_noise)
        if pace.interval is not None:
            parts[0] = (
                f"{format_pace(pace).replace(', within noise', '')}x the time"
                + " (within noise)" * pace.is_noise
            )
    if cell.cost and reference.cost and cell.cost.peak_bytes and reference.cost.peak_bytes:
        parts.append(f"{_format_bare(cell.cost.peak_bytes / reference.cost.peak_bytes)}x the peak")
    return f"{cell.label} {' and '.join(parts)}" if parts else None


def _join(optimizer: str, priced: Sequence[tuple[Contrast, Ruling]]) -> list[str]:
    """Return the prices on two lines at most; what does not fit is counted."""
    lines = [f"{optimizer}: {_say_price(*priced[0])}"]
    for number, pair in enumerate(priced[1:], start=1):
        part, rest = _say_price(*pair), len(priced) - number
        # Room for the count of what comes after, if anything does.
        if measure(f"{lines[-1]} | {part}") <= MAX_COLUMNS - (len(" | +99 more") if rest > 1 else 0):
            lines[-1] += f" | {part}"
        elif len(lines) < _MAX_LINES:
            lines.append("  " + part)
        else:
            lines[-1] += f" | +{rest} more"
            break
    return [shorten_line(line) for line in lines]


def _say_price(each: Contrast, ruling: Ruling) -> str:
    word = each.level if each.factor.key == "precision" else f"{each.factor.name}={each.level}"
    parts = (
        [f"{each.time.ratio:.2f}x time" + " (noise)" * each.time.is_noise] if each.time is not None else []
    )
    parts += [f"{each.memory_ratio:.2f}x peak"] if each.memory_ratio is not None else []
    loss = "same loss" if each.is_identical else f"loss {ruling.verdict.partition(' (')[0]}"
    return clean(f"{word} {' '.join([*parts, loss])}")


def _format_bare(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:.3g}"
