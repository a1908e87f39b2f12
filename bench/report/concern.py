"""What a reader must know before any number: every reason to doubt this sweep, most important first."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from bench.report.alone import name_some
from bench.report.cost_concern import find_cost_concerns
from bench.report.decay import find_faint_decay, set_key
from bench.report.drift import find_drift
from bench.report.effort import find_search_concerns
from bench.report.sweep import Arena, Cell, Concern, Sweep
from bench.stats import MIN_PAIRS

# How a run can fail to count, and how a sentence says so.
_MISSING = {
    "failed": "failed",
    "oom": "ran out of memory",
    "timeout": "ran out of time",
    "killed": "killed",
    "interrupted": "interrupted",
    "unreadable": "with an unreadable result",
    "missing": "not run yet",
}
_RETRIED = ("failed", "oom", "timeout", "killed", "interrupted")


def find_concerns(sweep: Sweep) -> tuple[Concern, ...]:
    """Return every warning of a sweep, most important first."""
    finders: tuple[Callable[[Sweep], Iterable[Concern]], ...] = (
        _find_interruption,
        _find_unreadable,
        _find_missing,
        _find_diverged,
        find_search_concerns,
        find_faint_decay,
        _find_few_seeds,
        _find_partly_unsupported,
        find_drift,
        _find_lost_reference,
        _find_unmetered,
        find_cost_concerns,
        _find_modified,
        _find_dirty_tree,
    )
    return tuple(concern for find in finders for concern in find(sweep))


def find_not_run(sweep: Sweep) -> tuple[Concern, ...]:
    """Return what could not run here at all, one line for each reason: no doubt about any other number."""
    reasons: dict[str, list[str]] = {}
    for arena in sweep.arenas:
        if arena.obstacle is not None:
            reasons.setdefault(arena.obstacle, []).append(arena.name)
            continue
        for cell in arena.all_cells:
            if cell.obstacle is not None:
                reasons.setdefault(cell.obstacle, []).append(f"{arena.name}/{cell.label}")
    return tuple(
        Concern(
            brief=f"{', '.join(names[:3])}{f' and {len(names) - 3} more' * (len(names) > 3)} {reason}",
            text=f"{', '.join(names)} {reason}",
        )
        for reason, names in reasons.items()
    )


def name_cells(cells: Iterable[tuple[Arena, Cell]], at_most: int = 4) -> str:
    """Return cells as `arena/label, arena/label`, and how many more there are."""
    names = [f"{arena.name}/{cell.label}" for arena, cell in cells]
    rest = len(names) - at_most
    return ", ".join(names[:at_most]) + (f" and {rest} more" if rest > 0 else "")


def _select(sweep: Sweep, is_meant: Callable[[Cell], bool]) -> list[tuple[Arena, Cell]]:
    """Return the cells meant, without those that can't exist here."""
    cells = [(arena, cell) for arena in sweep.arenas for cell in arena.all_cells]
    return [(arena, cell) for arena, cell in cells if cell.obstacle is None and is_meant(cell)]


def _find_interruption(sweep: Sweep) -> Iterable[Concern]:
    if sweep.manifest.is_interrupted:
        missing = sum(end.status in ("missing", "interrupted") for end in sweep.ends)
        text = f"The sweep was interrupted: {missing} of {len(sweep.ends)} runs are still to be made."
        yield Concern(
            brief=f"interrupted: {missing} of {len(sweep.ends)} runs to be made; the same command goes on",
            text=text + " The same command goes on where it stopped.",
            command=sweep.manifest.command,
        )


def _find_unreadable(sweep: Sweep) -> Iterable[Concern]:
    if sweep.unreadable:
        count = f"{len(sweep.unreadable)} of {sweep.num_files} result files unreadable"
        yield Concern(brief=count, text=f"{count}: {'; '.join(sweep.unreadable[:5])}")


def _find_missing(sweep: Sweep) -> Iterable[Concern]:
    briefs, texts, retried = [], [], []
    for status, meaning in _MISSING.items():
        cells = _select(sweep, lambda cell, status=status: cell.count(status) > 0)  # type: ignore[misc]
        # An interrupted sweep has said so already.
        if not cells or (sweep.manifest.is_interrupted and status in ("missing", "interrupted")):
            continue
        num = sum(cell.count(status) for _, cell in cells)
        detail = next((end.detail for _, cell in cells for end in cell.ends if end.status == status), None)
        reason = f" ({detail})" if detail and status != "missing" else ""
        briefs.append(f"{num} {meaning}: {name_cells(cells, 2)}{reason}")
        texts.append(f"{num} run{'s' * (num != 1)} {meaning}: {name_cells(cells)}{reason}.")
        if status in _RETRIED:
            retried.append(status)
    if briefs:
        yield Concern(
            brief="; ".join(briefs),
            text=f"{' '.join(texts)} No mean is shown for these cells, and nothing is claimed about them.",
            command=f"{sweep.manifest.command} retry={','.join(retried)}"
            if retried
            else sweep.manifest.command,
        )


def _find_diverged(sweep: Sweep) -> Iterable[Concern]:
    cells = _select(sweep, lambda cell: cell.count("diverged") > 0)
    if not cells:
        return
    counts = []
    for arena, cell in cells:
        steps = [end.result.diverged_step for end in cell.ends if end.result and end.status == "diverged"]
        known = [step for step in steps if step is not None]
        first = f" first at step {min(known)}," if known else ""
        lr = "unknown" if cell.lr is None else f"{cell.lr:.3g}"
        counts.append(
            f"{arena.name}/{cell.label} {cell.count('diverged')}/{len(cell.ends)} seeds,{first} lr {lr}"
        )
    yield Concern(
        brief=f"diverged: {'; '.join(counts)}",
        text=f"Diverged: {'; '.join(counts)}. "
        "A mean over the seeds that survived would flatter, so none is shown.",
    )


def _find_few_seeds(sweep: Sweep) -> Iterable[Concern]:
    cells = _select(sweep, lambda cell: 0 < len(cell.ends) < MIN_PAIRS)
    if cells:
        fewest = min(len(cell.ends) for _, cell in cells)
        scope = "" if len(cells) < len(_select(sweep, lambda cell: bool(cell.ends))) else "all cells, "
        count = f"n = {fewest} seed{'s' * (fewest != 1)}"
        yield Concern(
            brief=f"{scope}{count}: no claim is made below n = {MIN_PAIRS}; add seeds={MIN_PAIRS}",
            text=f"{scope or name_cells(cells) + ', '}{count}: no claim is made below n = {MIN_PAIRS}, "
            "where an interval says nothing. More seeds only add runs to those already stored.",
            command=set_key(sweep.manifest.command, "seeds", str(MIN_PAIRS)),
        )


def _find_partly_unsupported(sweep: Sweep) -> Iterable[Concern]:
    for arena, cell in _select(sweep, lambda cell: cell.count("unsupported") > 0):
        detail = next(end.detail for end in cell.ends if end.status == "unsupported")
        text = f"{arena.name}/{cell.label}: some seeds are unsupported: {detail or 'no reason given'}"
        yield Concern(brief=text, text=text)


def _find_lost_reference(sweep: Sweep) -> Iterable[Concern]:
    if sweep.reference is None:
        return
    for arena in sweep.arenas:
        cells = [cell for cell in arena.cells if cell.obstacle is None]
        names = {name for cell in cells for name in (cell.label, cell.study.optimizer.name)}
        if cells and sweep.reference not in names:
            stand_in = arena.reference.label
            text = f"{arena.name}: the reference {sweep.reference} is not there; {stand_in} stands in"
            yield Concern(brief=text, text=text)


def _find_unmetered(sweep: Sweep) -> Iterable[Concern]:
    for arena, cell in _select(sweep, lambda cell: cell.metering_trouble is not None):
        text = f"{arena.name}/{cell.label}: its cost was not measured ({cell.metering_trouble})"
        yield Concern(brief=text, text=text)


def _find_modified(sweep: Sweep) -> Iterable[Concern]:
    modified = [
        arena for arena in sweep.arenas if arena.obstacle is None and arena.study.is_workload_modified
    ]
    names = list(dict.fromkeys(arena.name for arena in modified))
    if names:
        shown = name_some(names)
        some = shown if len(names) == 1 else f"{len(names)} arenas"
        yield Concern(
            brief=f"modified workload ({some}): its reference values don't apply",
            text=f"Modified workload: {shown}. Data, model or budget are changed: "
            "its reference values don't apply, and its numbers compare with this sweep's only.",
        )


def _find_dirty_tree(sweep: Sweep) -> Iterable[Concern]:
    machines = [sweep.manifest.machine, *(end.result.machine for end in sweep.ends if end.result)]
    dirty = dict.fromkeys(machine.commit for machine in machines if machine.is_dirty)
    if dirty:
        commits = ", ".join((commit or "unknown")[:12] for commit in dirty)
        yield Concern(
            brief=f"uncommitted changes at commit {commits}: the code of this sweep can't be named",
            text=f"The working folder had uncommitted changes at commit {commits}: "
            "the exact code behind these numbers can't be named.",
        )
