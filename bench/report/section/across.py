"""Across arenas: how often each optimizer was better or worse, and by how much over these arenas."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from bench.report.across import KINDS, League, Standing, count_comparisons, find_leagues
from bench.report.chapter import Block, Text
from bench.report.escape import slug
from bench.report.look import assign_looks
from bench.report.plot.profile import draw_profile
from bench.report.suite import MANY_ARENAS, make_suite, tabulate_suite
from bench.report.sweep import Sweep
from bench.report.tables import Column, Table
from bench.report.unbeaten import UNBEATEN, write_headline
from bench.report.verdict import judge, scale_of

TITLE = "Across arenas"


def show(sweep: Sweep) -> Sequence[Block] | str:
    """Return one row per arena, then a table and a profile for each reference met in several of them."""
    arenas = [arena for arena in sweep.arenas if arena.obstacle is None]
    if len(arenas) < 2:
        return "Fewer than two arenas: there is nothing to put together."
    leagues = find_leagues(arenas)
    if not leagues:
        return "No optimizer met the same reference in two arenas."
    looks = assign_looks(sweep)
    num = sum(count_comparisons(judge(arena)) for arena in arenas)
    headline = write_headline(arenas)
    blocks: list[Block] = [Text(text=f"{headline}. {UNBEATEN}")] if headline else []
    # The answer opens with this table where there are many.
    blocks += [tabulate_suite(make_suite(arenas))] if len(arenas) <= MANY_ARENAS else []
    for league in leagues:
        blocks.append(_tabulate(league, num))
        profile = draw_profile(league, looks)
        blocks.append(Text(text=profile) if isinstance(profile, str) else profile)
    apart = [arena for arena in arenas if not any(arena in league.arenas for league in leagues)]
    if apart:
        names = "; ".join(f"{arena.name} (reference {arena.reference.label})" for arena in apart)
        blocks.append(Text(text=f"Left out, for want of another arena with the same reference: {names}."))
    return blocks


def _tabulate(league: League, num_comparisons: int) -> Table:
    standings = league.standings

    def tally(each: Standing, *kinds: str) -> str:
        return " / ".join(str(each.counts[kind]) for kind in kinds)

    return Table(
        name=f"across_{slug(league.reference)}",
        title=f"{len(league.arenas)} arenas, against {league.reference}",
        columns=(
            Column(header="optimizer", cells=tuple(each.label for each in standings)),
            Column(
                header="better / tied / worse",
                cells=tuple(tally(each, "better", "tied", "worse") for each in standings),
            ),
            Column(
                header="leaning / inconclusive / no claim",
                cells=tuple(tally(each, "leaning", "inconclusive", "no claim") for each in standings),
            ),
            Column(
                header="unstable + missing",
                cells=tuple(str(each.counts["unstable"] + each.counts["missing"]) for each in standings),
            ),
            Column(
                header=f"mean vs {league.reference} (%) [95 % CI]",
                cells=tuple(_format_mean(each) for each in standings),
            ),
            Column(
                header=f"P(lower than {league.reference}) [95 % CI]",
                cells=tuple(_format_chance(each) for each in standings),
            ),
            Column(header="smallest p (FDR)", cells=tuple(_format_finding(each) for each in standings)),
            Column(
                header="diverged seeds",
                cells=tuple(f"{each.num_diverged}/{each.num_runs}" for each in standings),
            ),
        ),
        data=pd.DataFrame([_record(league, each) for each in standings]),
        note=_explain(league, num_comparisons),
    )


def _format_mean(each: Standing) -> str | None:
    if each.pooled is None:
        return None
    _, convert = scale_of(each.arenas[0])
    mean, low, high = (convert(value) for value in (each.pooled.mean, *each.pooled.interval))
    return f"{mean:+.3g} [{low:+.3g}, {high:+.3g}]"


def _format_chance(each: Standing) -> str | None:
    if each.chance is None:
        return None
    chance, (low, high) = each.chance
    return f"{chance:.2f} [{low:.2f}, {high:.2f}]"


def _format_finding(each: Standing) -> str | None:
    if each.finding is None:
        return None
    return f"{each.finding.p:.2g} ({'lower' if each.finding.is_lower else 'higher'})"


def _explain(league: League, num_comparisons: int) -> str:
    """Return what the numbers of a table mean, and where they say less than they seem to."""
    parts = [
        f"The mean speaks of these {len(league.arenas)} arenas only, each with the same weight, and of no "
        "other model, size or run length; it is geometric, of the ratios of the losses, and its interval "
        "(Welch-Satterthwaite t) takes the arenas as independent.",
        "P: the chance that a seed ends lower than the reference on the same seed; a diverged seed is above "
        f"all others. Smallest p: adjusted over all {num_comparisons} comparisons on this page "
        "(Benjamini-Hochberg), no claim left out; lower or higher loss than the reference.",
    ]
    tasks = [arena.study.workload.name for arena in league.arenas]
    if len(set(tasks)) < len(tasks):
        parts.append(
            "Some of these arenas share a workload and its seeds: they err alike, and the intervals may be "
            "too narrow."
        )
    if any(arena.study.seeds.num == "auto" for arena in league.arenas):
        parts.append("seeds=auto: mean, P and p are not adjusted for its looks; the verdicts are.")
    if any(each.counts["no claim"] and each.pooled for each in league.standings):
        parts.append(
            "A mean also counts arenas whose verdict is no claim, since one side was not searched fairly: it "
            "carries no claim either."
        )
    if not all(arena.is_searched for arena in league.arenas):
        parts.append(
            "In some arenas no setting was searched for: what is said of those is of untuned optimizers."
        )
    short = [each for each in league.standings if 1 < len(each.arenas) < len(league.arenas)]
    parts += [f"{each.label}: over {len(each.arenas)} of the {len(league.arenas)} arenas." for each in short]
    parts += [f"{each.label}: {each.remark}." for each in league.standings if each.remark]
    return " ".join(parts)


def _record(league: League, each: Standing) -> dict[str, str | int | float | None]:
    low, high = each.pooled.interval if each.pooled else (None, None)
    chance, (chance_low, chance_high) = each.chance or (None, (None, None))
    return {
        "optimizer": each.label,
        "reference": league.reference,
        "arenas": "; ".join(arena.name for arena in each.arenas),
        "num_arenas": len(each.arenas),
        **{f"num_{kind.replace(' ', '_')}": each.counts[kind] for kind in KINDS},
        "log_ratio_mean": each.pooled.mean if each.pooled else None,
        "log_ratio_ci95_low": low,
        "log_ratio_ci95_high": high,
        "p_lower": chance,
        "p_lower_ci95_low": chance_low,
        "p_lower_ci95_high": chance_high,
        "p_fdr_smallest": each.finding.p if each.finding else None,
        "p_fdr_arena": each.finding.arena.name if each.finding else None,
        "is_lower": each.finding.is_lower if each.finding else None,
        "num_diverged": each.num_diverged,
        "num_runs": each.num_runs,
    }
