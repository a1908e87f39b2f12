"""Who is unbeaten where: the one count over workloads that needs no ranking of means within their noise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from bench.report.escape import clean, measure
from bench.report.sweep import Arena
from bench.report.verdict import claim_level, compare, find_veto
from bench.stats import Effect, decide

# More optimizers than this are what the table is for.
_MAX_NAMED = 4
UNBEATEN = (
    "Unbeaten: no other optimizer is better there, by p-values adjusted over all pairs of the arena (Holm); "
    "means within each other's noise share the place."
)


@dataclass(frozen=True, kw_only=True)
class Tally:
    """How often one optimizer was unbeaten, over the arenas in which it could have been beaten."""

    label: str
    num_unbeaten: int
    # Unbeaten, and all others beaten.
    num_alone: int
    num_arenas: int


def find_unbeaten(arena: Arena) -> tuple[str, ...]:
    """Return the labels that no other optimizer is better than; empty where no two could be compared.

    Every optimizer is compared with every other, not with the reference only, and beaten where one of those
    comparisons says so fairly. One that diverged, or has no honest mean, is not unbeaten.

    Source: p-values adjusted over all pairs by Holm 1979, "A simple sequentially rejective multiple test
    procedure"; the set of those that may be best, as in Hsu 1984, "Constrained simultaneous confidence
    intervals for multiple comparisons with the best". Deviation: paired t tests, the margin, our vetoes.
    """
    cells = {cell.label: cell for cell in arena.cells if cell.is_complete}
    effects: dict[str, Effect] = {}
    sides: dict[str, tuple[str, str]] = {}
    for first, second in combinations(sorted(cells), 2):
        effect = compare(arena, cells[first], cells[second])
        if effect is not None and effect.p is not None:
            # Any text that no two pairs share.
            key = repr((first, second))
            effects[key], sides[key] = effect, (first, second)
    if not effects:
        return ()
    beaten = set()
    for key, claim in decide(effects, arena.study.workload.margin, claim_level(arena, effects)).items():
        if claim.word in ("better", "worse"):
            winner, loser = sides[key] if claim.word == "better" else sides[key][::-1]
            if find_veto(cells[loser], cells[winner]) is None:
                beaten.add(loser)
    compared = {label for pair in sides.values() for label in pair}
    return tuple(sorted(compared - beaten))


def count_unbeaten(arenas: Sequence[Arena]) -> tuple[Tally, ...]:
    """Return a tally for each optimizer, the one unbeaten most often first."""
    unbeaten, alone, present = Counter[str](), Counter[str](), Counter[str]()
    for arena in arenas:
        found = find_unbeaten(arena)
        if not found:
            continue
        present.update(cell.label for cell in arena.cells if cell.obstacle is None)
        unbeaten.update(found)
        alone.update(found if len(found) == 1 else ())
    tallies = [
        Tally(label=label, num_unbeaten=unbeaten[label], num_alone=alone[label], num_arenas=num)
        for label, num in present.items()
    ]
    return tuple(sorted(tallies, key=lambda each: (-each.num_unbeaten, -each.num_alone, each.label)))


def write_headline(arenas: Sequence[Arena], columns: int | None = None) -> str | None:
    """Return what several arenas say of the optimizers in one sentence; None where fewer than two say any.

    As `adam is unbeaten on 6 of 9 workloads (alone on 2), sgd on 4; none on all`.

    Args:
        arenas: Of a sweep.
        columns: Name as many optimizers as fit, at least one; None: the best few.
    """
    tallies = count_unbeaten(arenas)
    num = max((each.num_arenas for each in tallies), default=0)
    if num < 2:
        return None
    word = "workloads" if len({arena.study.workload.name for arena in arenas}) == len(arenas) else "arenas"
    everywhere = [each for each in tallies if each.num_unbeaten == each.num_arenas == num]
    end = "" if everywhere else "; none on all"
    line = ""
    for each in tallies[:_MAX_NAMED]:
        is_all = each in everywhere
        part = f", {each.label}" if line else f"{each.label} is unbeaten"
        part += f" on {'all ' * is_all}{each.num_unbeaten}"
        if not is_all and (not line or each.num_arenas != num):
            part += f" of {each.num_arenas}"
        part += f" {word}" * (not line) + (f" (alone on {each.num_alone})" if each.num_alone else "")
        if line and columns is not None and measure(line + part + end) > columns:
            break
        line += part
    return clean(line + end)
