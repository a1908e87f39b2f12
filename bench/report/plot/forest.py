"""The verdicts at a glance: each optimizer's difference to the reference, with interval and seeds."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
from matplotlib.axes import Axes

from bench.report.chapter import Figure
from bench.report.escape import slug
from bench.report.look import FAINT, INK, Look, finish, name_label, new_drawing, styled
from bench.report.sweep import Arena
from bench.report.verdict import Judgement, format_range, judge, scale_of
from bench.stats import paired_effect

# Beyond this many rows the table says it better.
_MAX_ROWS = 20
# And beyond this many it is folded.
_MAX_OPEN_ROWS = 12


def draw_forest(arena: Arena, looks: dict[str, Look]) -> Figure | None:
    """Draw an arena's paired differences; None when no two cells can be paired."""
    judged = [each for each in judge(arena) if each.effect is not None][:_MAX_ROWS]
    if not judged:
        return None
    unit, convert = scale_of(arena)
    reference = name_label(arena.reference.label)
    margin = arena.study.workload.margin
    judged.sort(key=lambda each: (each.effect.mean if each.effect else 0.0, each.cell.label), reverse=True)
    with styled():
        drawing, (axes,) = new_drawing(6.4, 1.5 + 0.5 * len(judged))
        axes.axvspan(convert(-margin), convert(margin), color="#e4e7eb", zorder=0)
        axes.axvline(0, color="#000000", linestyle=(0, (4, 2)), linewidth=1.4, zorder=1)
        for row, each in enumerate(judged):
            _draw_row(axes, arena, row, each, looks[each.cell.label], convert)
        axes.set_yticks(range(len(judged)), [name_label(each.cell.label) for each in judged])
        axes.set_ylim(-0.6, len(judged) - 0.4)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel(f"validation loss against {reference}{' (%)' if unit else ''}, lower is better")
        axes.set_title(f"{name_label(arena.name, 48)}: difference to {reference}")
        pairs = sorted({each.effect.n for each in judged if each.effect})
        return finish(
            drawing,
            name=f"verdicts_{slug(arena.name)}",
            caption=f"{arena.name}: mean paired difference of final validation loss to "
            f"{arena.reference.label} (n = {' or '.join(map(str, pairs))} paired seeds); "
            f"bar: 95 % t interval; ticks: single seeds; "
            f"grey: {format_range(arena, (-margin, margin))}, inside which two optimizers are tied.",
            alt=f"Forest plot of differences to {arena.reference.label} on {arena.name}: "
            + "; ".join(
                f"{each.cell.label} {convert(each.effect.mean):+.2g}{unit}, {each.verdict}"
                for each in judged
                if each.effect
            ),
            data=_collect(arena, judged),
            is_folded=len(judged) > _MAX_OPEN_ROWS,
        )


def _draw_row(
    axes: Axes, arena: Arena, row: int, each: Judgement, look: Look, convert: Callable[[float], float]
) -> None:
    assert each.effect is not None
    singles = [convert(value) for _, value in _single_effects(arena, each)]
    axes.plot(singles, [row - 0.2] * len(singles), "|", color=FAINT, markersize=8, zorder=2)
    if each.effect.interval is not None:
        low, high = each.effect.interval
        axes.plot(
            [convert(low), convert(high)], [row, row], color=look.colour, linewidth=4, alpha=0.55, zorder=3
        )
    mean = convert(each.effect.mean)
    axes.plot([mean], [row], look.marker, color=look.colour, markersize=8, zorder=4)
    axes.text(
        1.02, row, each.verdict, transform=axes.get_yaxis_transform(), va="center", fontsize=9, color=INK
    )


def _single_effects(arena: Arena, each: Judgement) -> list[tuple[int, float]]:
    scale = arena.study.workload.effect
    reference = arena.reference.losses
    singles = []
    for seed, loss in each.cell.losses.items():
        effect = paired_effect({seed: loss}, reference, scale)
        if effect is not None:
            singles.append((seed, effect.mean))
    return singles


def _collect(arena: Arena, judged: list[Judgement]) -> pd.DataFrame:
    rows = []
    for each in judged:
        assert each.effect is not None
        low, high = each.effect.interval or (None, None)
        for seed, single in _single_effects(arena, each):
            rows.append(
                (arena.name, each.cell.label, seed, single, each.effect.mean, low, high, each.verdict)
            )
    names = [
        "arena",
        "optimizer",
        "seed",
        "effect",
        "effect_mean",
        "effect_ci95_low",
        "effect_ci95_high",
        "verdict",
    ]
    return pd.DataFrame(rows, columns=names).assign(scale=arena.study.workload.effect)
