"""What a workload's frozen reference says of its seeds: the gap they can tell, and the one known to exist."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.report.sweep import Arena
from bench.report.verdict import Judgement, scale_of
from bench.spec import Study
from bench.stats import TELLING_GAP, count_seeds, log_moments, smallest_gap, standardised_gap

# The pair whose gap says what a workload is good for: the adaptive optimizer and the plain one.
PAIR = ("adam", "sgd")


@dataclass(frozen=True, kw_only=True)
class Floor:
    """What the seeds of an arena can tell, by its workload's frozen reference values."""

    arena: Arena
    # Evaluation seeds that the arena has.
    num_seeds: int
    # Seed sd of one optimizer, on the scale of the workload's effect.
    sd: float
    # The smallest gap these seeds see even unpaired; None below MIN_PAIRS.
    gap: float | None
    # Seeds that see a gap as large as the margin, as surely; None: over 1000.
    num_for_margin: int | None
    # Between the two of PAIR, in pooled sds; None where the reference lacks one.
    standardised: float | None

    @property
    def is_control(self) -> bool:
        """Whether the two of PAIR are known to tie here: what then finds a winner is to be doubted."""
        return self.standardised is not None and self.standardised < TELLING_GAP


def find_floor(arena: Arena) -> Floor | None:
    """Return what is known of an arena's noise; None where its workload was changed, or never measured.

    The frozen values hold an sd for each optimizer, not for their differences on a seed: so this is what
    seeds tell unpaired, and pairing does better wherever a seed is good or bad for both.
    """
    moments = find_moments(arena.study)
    if not moments:
        return None
    names = {cell.study.optimizer.name for cell in arena.cells}
    sds = [sd for name, (_, sd) in moments.items() if name in names] or [sd for _, sd in moments.values()]
    sd = math.hypot(*sds) / math.sqrt(len(sds))
    num = max((len(cell.ends) for cell in arena.cells if cell.obstacle is None), default=0)
    first, second = (moments.get(name) for name in PAIR)
    return Floor(
        arena=arena,
        num_seeds=num,
        sd=sd,
        gap=smallest_gap(sd, num, is_paired=False),
        num_for_margin=count_seeds(arena.study.workload.margin, sd, is_paired=False),
        standardised=standardised_gap(first, second) if first and second else None,
    )


def find_moments(study: Study) -> dict[str, tuple[float, float]]:
    """Return mean and seed sd by optimizer on the scale of the workload's effect, where the frozen ones hold.

    They hold for the unmodified workload at its full length only, where seeds change what they always do.
    """
    workload = study.workload
    is_whole = {"init", "order"} <= set(study.seeds.vary)
    if study.is_workload_modified or study.horizon != 1 or not is_whole:
        return {}
    moments = {}
    for name, values in workload.reference.items():
        mean, sd = values.get("val_loss"), values.get("sd")
        if mean is None or sd is None or not math.isfinite(mean) or not 0 <= sd < math.inf:
            continue
        if workload.effect == "difference":
            moments[name] = (mean, sd)
        elif mean > 0:
            moments[name] = log_moments(mean, sd)
    return moments


def describe_floor(floor: Floor, *, is_open: bool, columns: int | None = None) -> str:
    """Return in one line what an arena's seeds can tell.

    Args:
        floor: Of the arena.
        is_open: Whether a verdict is inconclusive or tied: then also how many seeds would see the margin.
        columns: Where to stop, part by part; None: nowhere.
    """
    workload = floor.arena.study.workload
    show = shower(floor.arena)
    verb = "tell" if floor.num_seeds != 1 else "tells"
    seeds = f"{floor.num_seeds} seed{'s' * (floor.num_seeds != 1)} {verb}"
    told = "no gap" if floor.gap is None else f"{show(floor.gap)} apart even unpaired"
    parts = [f"{workload.name}: {seeds} {told} (seed sd {show(floor.sd)})"]
    # Fewer than there are would be an odd thing to say.
    if is_open and (floor.num_for_margin is None or floor.num_for_margin > floor.num_seeds):
        more = "over 1000" if floor.num_for_margin is None else str(floor.num_for_margin)
        parts.append(f", {more} its margin of {show(workload.margin)}")
    if floor.standardised is not None:
        size = format_gap(floor.standardised)
        first, second = PAIR
        is_told = f"; tells {first} from {second} (d = {size})"
        parts.append(f"; {first} and {second} tie (d = {size})" if floor.is_control else is_told)
    line = parts[0]
    for part in parts[1:]:
        if columns is None or len(line) + len(part) <= columns:
            line += part
    return line


def has_open(judgements: Sequence[Judgement]) -> bool:
    """Return whether one of an arena's verdicts says that nothing was told apart."""
    return any(each.verdict.startswith(("inconclusive", "tied", "leaning")) for each in judgements)


def shower(arena: Arena) -> Callable[[float], str]:
    """Return how a size on the scale of an arena's effects is written: `0.9 %`, or a plain `0.012`."""
    unit, convert = scale_of(arena)
    return lambda value: format_gap(convert(value)) + unit


def format_gap(size: float) -> str:
    """Return a size with two significant digits, and none of a size that says no more than "far"."""
    if size >= 1000:
        return "over 1000"
    return f"{size:.2g}" if size < 99.5 else f"{size:.0f}"
