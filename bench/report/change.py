"""What changed between two sweeps: verdicts, losses beyond the noise of seeds, costs beyond the meter's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.report.escape import shorten
from bench.report.listing import align
from bench.report.load import load
from bench.report.pace import compare_steps, format_pace, step_s
from bench.report.sweep import Arena, Cell, Sweep
from bench.report.verdict import compare, format_signed, judge, scale_of
from bench.stats import ALPHA, Effect, adjust_holm
from bench.store import environment

# What a peak may differ by and still be called the same: allocators round.
_SAME_BYTES = 0.01
_HEADERS = ("arena", "optimizer", "what", "old", "new", "change")
Row = tuple[str, str, str, str, str, str]


@dataclass(frozen=True, kw_only=True)
class _Pair:
    """One cell of the new sweep and the one of the old sweep that it stands for."""

    arena: Arena
    new: Cell
    old: Cell
    verdicts: tuple[str, str]
    # Of the new losses against the old; None: nothing to pair.
    effect: Effect | None


def write_changes(old: Path, new: Path, reference: str | None, margin: float | None) -> str:
    """Return what changed from one sweep to another, as lines for a terminal.

    A loss has changed where a paired test over the common seeds says so, adjusted (Holm) over all cells of
    both sweeps; a step time where its ratio leaves the noise of a step measured against itself; a peak where
    it differs by over 1 %.

    Args:
        old: `results/<sweep>`.
        new: Another one.
        reference: Name or label of the optimizer that verdicts are against.
        margin: Difference that does not matter; None: what the workloads declare.

    Raises:
        StoreError: One of them has no readable manifest.
    """
    before, after = load(old, reference, margin), load(new, reference, margin)
    is_here = environment(before.manifest.machine) == environment(after.manifest.machine)
    pairs, added, gone = _match(before, after)
    tested = [pair for pair in pairs if pair.effect is not None and pair.effect.p is not None]
    adjusted = adjust_holm([pair.effect.p for pair in tested if pair.effect and pair.effect.p is not None])
    changed = {id(pair) for pair, p in zip(tested, adjusted, strict=True) if p < ALPHA}
    rows: list[Row] = []
    num_same = 0
    for pair in pairs:
        own = list(_list_changes(pair, id(pair) in changed, is_here=is_here))
        num_same += not own
        rows += own
    rows += [(shorten(a.name, 24), shorten(c.label, 24), "cell", "", "added", "") for a, c in added]
    rows += [(shorten(a.name, 24), shorten(c.label, 24), "cell", "gone", "", "") for a, c in gone]
    lines = [f"old  {_name(before)}", f"new  {_name(after)}", ""]
    lines += align([_HEADERS, *rows]) if rows else []
    untested = sum(pair.effect is None or pair.effect.p is None for pair in pairs)
    lines.append(
        f"{num_same} of {len(pairs)} common cells unchanged; {len(tested)} losses tested (Holm), "
        f"{untested} not: under 3 common seeds"
    )
    if not is_here:
        lines.append("! other hardware or another torch: costs are not compared")
    lines += [shorten(f"! {line}", 200) for line in (*before.unreadable, *after.unreadable)]
    return "\n".join(lines) + "\n"


def _match(
    before: Sweep, after: Sweep
) -> tuple[list[_Pair], list[tuple[Arena, Cell]], list[tuple[Arena, Cell]]]:
    """Return cells of the same arena and optimizer as pairs, and those that only one sweep has."""
    verdicts = {
        id(each.cell): each.verdict for sweep in (before, after) for a in sweep.arenas for each in judge(a)
    }
    waiting = [(arena, cell) for arena in before.arenas for cell in arena.cells]
    pairs, added = [], []
    for arena in after.arenas:
        for cell in arena.cells:
            match = next((pair for pair in waiting if _is_same(pair, (arena, cell))), None)
            if match is None:
                added.append((arena, cell))
                continue
            waiting.remove(match)
            pairs.append(
                _Pair(
                    arena=arena,
                    new=cell,
                    old=match[1],
                    verdicts=(verdicts[id(match[1])], verdicts[id(cell)]),
                    effect=compare(arena, cell, match[1]),
                )
            )
    return pairs, added, waiting


def _is_same(one: tuple[Arena, Cell], other: tuple[Arena, Cell]) -> bool:
    return _key(*one) == _key(*other)


def _key(arena: Arena, cell: Cell) -> str:
    """Return what two cells share that answer the same question; hardware and the lr found are no part."""
    settings = {key: value for key, value in arena.settings.items() if key not in ("hardware", "threads")}
    return json.dumps([settings, cell.label], sort_keys=True)


def _list_changes(pair: _Pair, is_changed: bool, *, is_here: bool) -> Iterator[Row]:
    name = shorten(pair.arena.name, 24), shorten(pair.new.label, 24)
    if pair.verdicts[0] != pair.verdicts[1]:
        yield *name, "verdict", *pair.verdicts, ""
    counts = [f"{len(cell.losses)}/{len(cell.ends)}" for cell in (pair.old, pair.new)]
    if counts[0] != counts[1]:
        yield *name, "runs ok", counts[0], counts[1], ""
    if is_changed and pair.effect is not None:
        means = [sum(cell.losses.values()) / len(cell.losses) for cell in (pair.old, pair.new)]
        yield *name, "val loss", f"{means[0]:.4g}", f"{means[1]:.4g}", _show_effect(pair.arena, pair.effect)
    if pair.old.lr != pair.new.lr:
        yield *name, "lr", _show(pair.old.lr), _show(pair.new.lr), ""
    if not is_here:
        return
    pace = compare_steps(pair.new, pair.old)
    if pace is not None and pace.interval is not None and not pace.is_noise:
        times = [
            _show(None if seconds is None else 1e3 * seconds) for seconds in map(step_s, (pair.old, pair.new))
        ]
        yield *name, "step ms", times[0], times[1], f"x {format_pace(pace)}"
    peaks = [cell.cost.peak_bytes if cell.cost else None for cell in (pair.old, pair.new)]
    if peaks[0] and peaks[1] and abs(peaks[1] / peaks[0] - 1) > _SAME_BYTES:
        yield (
            *name,
            "peak MiB",
            _show(peaks[0] / 2**20),
            _show(peaks[1] / 2**20),
            f"x {peaks[1] / peaks[0]:.2f}",
        )


def _name(sweep: Sweep) -> str:
    return shorten(f"{sweep.manifest.name}, {sweep.manifest.started_at[:16].replace('T', ' ')}", 90)


def _show_effect(arena: Arena, effect: Effect) -> str:
    unit, convert = scale_of(arena)
    mean, *bounds = (format_signed(convert(value)) for value in (effect.mean, *(effect.interval or ())))
    return f"{mean}{unit} [{', '.join(bounds)}]"


def _show(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
