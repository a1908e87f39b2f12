"""Each optimizer at its best listed setting against the reference at its own: what may be claimed of that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bench.report.choice import Choice, choose
from bench.report.factor import Grid, Task
from bench.report.sweep import Arena
from bench.report.verdict import claim_level
from bench.stats import ALPHA, Claim, Effect, Scale, decide, paired_effect

# Settings that decide what a run costs or what its loss is of: a choice may not reach across them.
_FIXED = ("budget", "horizon", "data", "precision", "threads", "search")


@dataclass(frozen=True, kw_only=True)
class Match:
    """One optimizer's best against the reference's best."""

    choice: Choice
    reference: Choice
    effect: Effect | None
    # With the two halves of the items in each other's place.
    mirrored: Effect | None
    claim: Claim | None
    # Why nothing is claimed; None where a claim stands.
    veto: str | None


@dataclass(frozen=True, kw_only=True)
class Contest:
    """Cells chosen among together: those of one arena, or of all arenas that cost and mean the same."""

    name: str
    # The reference's first.
    choices: tuple[Choice, ...]
    # Of all others, in that order; empty where the reference has no choice itself.
    matches: tuple[Match, ...]
    # Optimizers without a setting that finished on every seed.
    absent: tuple[str, ...]


def find_contests(task: Task) -> tuple[Contest, ...]:
    """Return who was best at its best: over all a task varies, and in each arena that lists several settings.

    Better or worse is claimed by the rules of the arenas, p-values adjusted over all contests of the task.
    How a step is computed is chosen by its cost, not by the last bits of a loss: variants take no part.
    """
    task = replace(task, grids=tuple(map(_keep_plain, task.grids)))
    scopes: list[tuple[str, list[Arena]]] = []
    arenas = list({arena.name: arena for grid in task.grids for arena in grid.arenas.values()}.values())
    if len({_fixed(arena) for arena in arenas}) == 1 and len(arenas) > 1:
        scopes.append((f"{task.name}, all combinations", arenas))
    # One optimizer alone has its best anywhere; per arena only what is compared is worth a row.
    if len(task.grids) > 1 or not scopes:
        scopes += [(arena.name, [arena]) for arena in arenas]
    contests = []
    for name, members in scopes:
        names = {arena.name for arena in members}
        grids = [grid for grid in task.grids if names & {arena.name for arena in grid.arenas.values()}]
        choices = {grid.optimizer: choose(task, grid, members) for grid in grids}
        found = [choice for choice in choices.values() if choice is not None]
        if any(choice.num_tried > 1 for choice in found):
            absent = tuple(optimizer for optimizer, choice in choices.items() if choice is None)
            contests.append(Contest(name=name, choices=_order(task, found), matches=(), absent=absent))
    return _claim(task, contests)


def _keep_plain(grid: Grid) -> Grid:
    """Return a grid without the variants, which cost something else and lose the same."""
    kept = {place: cell for place, cell in grid.cells.items() if cell.variant_of is None}
    return replace(grid, cells=kept, arenas={place: grid.arenas[place] for place in kept})


def _fixed(arena: Arena) -> tuple[tuple[str, str], ...]:
    return tuple((key, value) for key, value in arena.settings.items() if key.partition(".")[0] in _FIXED)


def _order(task: Task, choices: Sequence[Choice]) -> tuple[Choice, ...]:
    reference = task.arena.reference.study.optimizer.name
    return tuple(sorted(choices, key=lambda each: (each.grid.optimizer != reference, each.grid.optimizer)))


def _claim(task: Task, contests: Sequence[Contest]) -> tuple[Contest, ...]:
    """Return the contests with their matches, judged together."""
    workload = task.arena.study.workload
    reference = task.arena.reference.study.optimizer.name
    pairs = {
        f"{contest.name} {rival.grid.optimizer}": (rival, contest.choices[0])
        for contest in contests
        if contest.choices[0].grid.optimizer == reference
        for rival in contest.choices[1:]
    }
    effects = {key: _compare(*pair, workload.effect, is_mirrored=False) for key, pair in pairs.items()}
    known = {key: effect for key, effect in effects.items() if effect is not None}
    claims = decide(known, workload.margin, claim_level(task.arena, known))
    matches = {}
    for key, pair in pairs.items():
        claim, mirrored = claims.get(key), _compare(*pair, workload.effect, is_mirrored=True)
        veto = _weigh(*pair, effects[key], claim, mirrored)
        matches[key] = Match(
            choice=pair[0], reference=pair[1], effect=effects[key], mirrored=mirrored, claim=claim, veto=veto
        )
    return tuple(
        replace(
            contest,
            matches=tuple(
                matches[key]
                for choice in contest.choices
                if (key := f"{contest.name} {choice.grid.optimizer}") in matches
            ),
        )
        for contest in contests
    )


def _compare(rival: Choice, reference: Choice, scale: Scale, *, is_mirrored: bool) -> Effect | None:
    if is_mirrored:
        sds = (rival.mirrored_sd, reference.mirrored_sd)
        return paired_effect(rival.mirrored_losses, reference.mirrored_losses, scale, sds)
    return paired_effect(rival.losses, reference.losses, scale, (rival.selection_sd, reference.selection_sd))


def _weigh(
    rival: Choice, reference: Choice, effect: Effect | None, claim: Claim | None, mirrored: Effect | None
) -> str | None:
    """Return why a match carries no claim; None where it does, or where its word claims nothing."""
    if effect is None:
        return "nothing to pair"
    if claim is None:
        return f"n={effect.n}"
    if claim.word in ("tied", "inconclusive"):
        return None
    is_better = claim.word.endswith("better")
    # A half that holds few items may choose badly on every seed alike, and no seed would tell.
    holds = mirrored is not None and (mirrored.p or 0.0) < ALPHA and (mirrored.mean < 0) == is_better
    if not holds:
        return "not when the halves of the items change places"
    return _find_veto(reference, rival) if is_better else _find_veto(rival, reference)


def _find_veto(loser: Choice, winner: Choice) -> str | None:
    """Return why the loser may not have lost fairly; the winner's own bounds never take its win away."""
    if loser.num_tried < winner.num_tried:
        return f"{loser.grid.optimizer} had fewer settings"
    if loser.num_lost:
        return f"runs of {loser.grid.optimizer} failed"
    if loser.arenas != winner.arenas:
        return "chosen from other arenas"
    if loser.cell.search is not None and loser.cell.search.edge is not None:
        return f"{loser.grid.optimizer} at the edge of lr"
    won = dict(zip((factor.key for factor in winner.grid.factors), winner.place, strict=True))
    lost = dict(zip((factor.key for factor in loser.grid.factors), loser.place, strict=True))
    for key in loser.edges:
        # At the largest model that both were given, neither has the advantage of it.
        is_shared = not key.startswith("optimizer.") and won.get(key) == lost[key]
        if not is_shared:
            return f"{loser.grid.optimizer} at the edge of {key.split('.', 1)[-1]}"
    return None
