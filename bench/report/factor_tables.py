"""The two tables on a sweep's factors: what each level does, and which setting is each optimizer's best."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from bench.report.best import Contest, Match
from bench.report.choice import Choice
from bench.report.contrast import Contrast, collect_contrasts, format_effect
from bench.report.contrast_claim import rule
from bench.report.escape import slug
from bench.report.factor import Task
from bench.report.finding import describe_verdict
from bench.report.pace import format_pace
from bench.report.tables import Column, Table, drop_empty
from bench.report.verdict import scale_of
from bench.stats import summarise

# What is beyond stands in the CSV.
_MAX_ROWS = 60


def tabulate_contrasts(task: Task, contrasts: Sequence[Contrast]) -> Table:
    """Return every level's effect, what may be said of it, and its price: a row each."""
    unit, _ = scale_of(task.arena)
    rulings = rule(task, contrasts)
    num_tested = sum(ruling.p_holm is not None for ruling in rulings)
    shown = list(zip(contrasts, rulings, strict=True))[:_MAX_ROWS]
    rest = len(contrasts) - len(shown)

    def column(header: str, cells: Sequence[str | float | None], style: Any = "text") -> Column:
        return Column(header=header, cells=tuple(cells), style=style)

    columns = [
        column("setting", [each.factor.name for each, _ in shown]),
        column("optimizer", [each.optimizer for each, _ in shown]),
        column("level (vs baseline)", [f"{each.level} (vs {each.factor.baseline})" for each, _ in shown]),
        column(
            f"change of val loss{' (%)' if unit else ''} [95 % CI] ↓",
            [format_effect(task, each.effect) if each.effect else None for each, _ in shown],
        ),
        column("p (Holm)", [ruling.p_holm for _, ruling in shown], "general"),
        column("verdict on the loss", [ruling.verdict for _, ruling in shown]),
        column("step time ratio [95 %] ↓", [_format_time(each) for each, _ in shown], "general"),
        column("peak memory ratio ↓", [each.memory_ratio for each, _ in shown], "general"),
        column("in single combinations", [_format_singles(task, each) for each, _ in shown]),
        column(
            "seeds x combinations",
            [f"{each.effect.n} x {len(each.singles)}" if each.effect else None for each, _ in shown],
        ),
        column("combinations lost", [str(each.num_lost) for each, _ in shown]),
        column("diverged runs", [_format_diverged(each) for each, _ in shown]),
    ]
    return Table(
        name=f"effects_{slug(task.name)}",
        title=f"{task.name}: each level against its baseline",
        columns=drop_empty(columns),
        data=collect_contrasts(task, contrasts).assign(
            p_holm=pd.Series([ruling.p_holm for ruling in rulings], dtype=float),
            verdict=[ruling.verdict for ruling in rulings],
        ),
        note="Paired "
        "by seed: "
        "within a "
        "seed, the "
        "mean over "
        "combinations; "
        "then a t "
        "interval "
        "over seeds. "
        "p-values are "
        "adjusted for "
        f"{num_tested} "
        f"comparison{'s' * (num_tested != 1)} "
        "(Holm), "
        "intervals "
        "are not. "
        "Identical: "
        "every loss "
        "equals the "
        "baseline's "
        "to the last "
        "bit. Single "
        "combinations: "
        "the smallest "
        "and the "
        "largest mean "
        "effect. "
        "Lost: a side "
        "has a seed "
        "that did not "
        "finish, and "
        "an effect "
        "without it "
        "flatters." + _explain_price(contrasts) + (f" {rest} more rows are in the CSV." if rest else ""),
    )


def _format_time(each: Contrast) -> str | None:
    if each.time is None:
        return "no speed claim" if each.time_obstacle else None
    return format_pace(each.time)


def _explain_price(contrasts: Sequence[Contrast]) -> str:
    """Return how step times were compared, as the end of a note."""
    paces = [each.time for each in contrasts if each.time is not None]
    parts = []
    if any(pace.interval for pace in paces):
        parts.append(
            " Step time: both ratios to the reference step that the cells were interleaved with, divided; "
            "intervals are combined on the log scale (root of the sum of squares), combinations as a "
            "geometric mean. Within noise: the interval holds 1, or 1 is no further than the A/A noise."
        )
    if any(pace.interval is None for pace in paces):
        parts.append(
            " A step time ratio without an interval is of two mean times: the cells have another model or "
            "batch, and so no reference step in common."
        )
    obstacles = dict.fromkeys(each.time_obstacle for each in contrasts if each.time_obstacle)
    parts += [f" {obstacle[:1].upper()}{obstacle[1:]}." for obstacle in obstacles if obstacle]
    return "".join(parts)


def _format_singles(task: Task, each: Contrast) -> str | None:
    if len(each.singles) < 2:
        return None
    _, convert = scale_of(task.arena)
    return f"{convert(min(each.singles)):+.3g} to {convert(max(each.singles)):+.3g}"


def _format_diverged(each: Contrast) -> str:
    base = f", baseline {each.num_baseline_diverged}" if each.num_baseline_diverged else ""
    return f"{each.num_diverged}/{each.num_runs}{base}"


def tabulate_best(task: Task, contests: Sequence[Contest]) -> Table:
    """Return the best listed setting of each optimizer, and how it compares with the reference's."""
    rows = [_record(task, contest, choice, match) for contest in contests for choice, match in _pair(contest)]
    shown = rows[:_MAX_ROWS]
    rest = len(rows) - len(shown)
    unit, _ = scale_of(task.arena)

    def column(header: str, key: str, style: Any = "text") -> Column:
        return Column(header=header, cells=tuple(row[key] for row in shown), style=style)

    columns = [
        column("among", "among"),
        column("best setting", "setting"),
        column("tried (no mean)", "tried_shown"),
        column("seeds that agree", "agreed_shown"),
        column("val loss ↓", "val_loss_mean", "fixed"),
        column("sd", "val_loss_sd", "fixed"),
    ]
    if any(contest.matches for contest in contests):
        columns += [
            column(f"vs the reference{' (%)' if unit else ''} [95 % CI]", "effect_shown"),
            column("verdict (exploratory)", "verdict"),
        ]
    return Table(
        name=f"best_{slug(task.name)}",
        title=f"{task.name}: the best listed setting of each optimizer",
        columns=tuple(columns),
        data=pd.DataFrame(rows).drop(columns=[key for key in rows[0] if key.endswith("_shown")]),
        marked=tuple(index for index, row in enumerate(shown) if row["verdict"] == "reference"),
        note="The lowest of several losses owes part of its lead to luck. So the setting is chosen on the "
        "search items and its loss is of the report items, and each seed is reported at the setting that "
        "the other seeds chose: seeds that agree chose the one named. Intervals hold what another choice "
        "might have changed; p-values are adjusted over this table (Holm), and a claim also has to hold when "
        "the two halves of the items change places. Exploratory all the same: only what was listed was "
        "tried, and fresh seeds of the settings named would have to confirm it."
        + (f" {rest} more rows are in the CSV." if rest else ""),
    )


def _pair(contest: Contest) -> list[tuple[Choice, Match | None]]:
    matches = {match.choice.grid.optimizer: match for match in contest.matches}
    return [(choice, matches.get(choice.grid.optimizer)) for choice in contest.choices]


def _record(task: Task, contest: Contest, choice: Choice, match: Match | None) -> dict[str, Any]:
    mean, sd = summarise(list(choice.losses.values()))
    effect = match.effect if match else None
    low, high = (effect.interval if effect else None) or (None, None)
    alone = None if not contest.matches else "reference"
    return {
        "among": contest.name,
        "optimizer": choice.grid.optimizer,
        "setting": choice.label,
        "num_tried": choice.num_tried,
        "num_failed": choice.num_failed,
        "tried_shown": f"{choice.num_tried} ({choice.num_failed})"
        if choice.num_failed
        else str(choice.num_tried),
        "num_seeds": len(choice.losses),
        "num_agreed": choice.num_agreed,
        "agreed_shown": f"{choice.num_agreed}/{len(choice.losses)}",
        "val_loss_mean": mean,
        "val_loss_sd": sd,
        "selection_sd": choice.selection_sd,
        "edges": "; ".join(choice.edges),
        "effect_scale": task.arena.study.workload.effect,
        "effect_mean": effect.mean if effect else None,
        "effect_ci95_low": low,
        "effect_ci95_high": high,
        "effect_shown": format_effect(task, effect) if effect else None,
        "effect_mean_mirrored": match.mirrored.mean if match and match.mirrored else None,
        "p_mirrored": match.mirrored.p if match and match.mirrored else None,
        "p_holm": match.claim.p_holm if match and match.claim else None,
        "verdict": describe_verdict(match) if match else alone,
    }
