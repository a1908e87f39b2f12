"""What each setting buys, at a glance: the mean effect of every level, in a small panel per setting."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from bench.report.chapter import Figure
from bench.report.contrast import Contrast, collect_contrasts, format_effect
from bench.report.contrast_claim import is_flat
from bench.report.escape import slug
from bench.report.factor import Task
from bench.report.look import INK, Look, finish, name_label, name_series, new_drawing, styled
from bench.report.variant import COST_KEYS
from bench.report.verdict import scale_of

_MAX_COLUMNS = 4
# Panels whose spans differ more than this have scales of their own.
_SAME_SCALE = 12.0


def draw_effects(task: Task, contrasts: Sequence[Contrast], looks: Mapping[str, Look]) -> Figure | None:
    """Draw the mean effect of each level against its baseline, a panel per factor; None without an effect.

    Args:
        task: What the contrasts are of.
        contrasts: All of the task's.
        looks: Optimizer -> look.
    """
    by_name = {name: [each for each in contrasts if each.factor.name == name] for name, _ in task.factors}
    known = [pair for pair in task.factors if any(each.effect is not None for each in by_name[pair[0]])]
    flat = [name for name, _ in known if is_flat(task, by_name[name])]
    factors = [pair for pair in known if pair[0] not in flat]
    if not factors:
        return None
    unit, _ = scale_of(task.arena)
    spans = {name: _find_span(by_name[name]) for name, _ in factors}
    sizes = [high - low for low, high in spans.values()]
    is_shared = max(sizes) <= _SAME_SCALE * min(sizes)
    if is_shared:
        common = min(low for low, _ in spans.values()), max(high for _, high in spans.values())
        spans = dict.fromkeys(spans, common)
    columns = min(_MAX_COLUMNS, len(factors))
    rows = -(-len(factors) // columns)
    with styled():
        drawing, panels = new_drawing(max(5.0, 2.75 * columns + 0.7), 0.6 + 2.9 * rows, len(factors), columns)
        for index, (axes, (name, levels)) in enumerate(zip(panels, factors, strict=True)):
            _draw_panel(axes, task, by_name[name], levels, looks)
            _scale(axes, task, spans[name])
            axes.set_title(name_label(name, 28), fontsize=10)
            is_left = index % columns == 0
            axes.tick_params(labelsize=8, labelleft=is_left or not is_shared)
            if is_left:
                axes.set_ylabel(f"change of final validation loss{' (%)' if unit else ''}")
        drawn = dict.fromkeys(each.optimizer for each in contrasts if each.effect is not None)
        if len(drawn) > 1:
            handles = [_make_handle(name, looks[name]) for name in drawn]
            drawing.legend(
                handles=handles,
                loc="outside upper left",
                ncols=min(6, len(handles)),
                frameon=False,
                fontsize=9,
            )
        return finish(
            drawing,
            name=f"factors_{slug(task.name)}",
            caption=_explain(task, contrasts, is_shared=is_shared)
            + f" Not drawn, since the loss does not change by it: {', '.join(flat)}." * bool(flat),
            alt=f"Small multiples of what each setting does to the final validation loss on {task.name}: "
            + "; ".join(
                f"{each.optimizer} {each.factor.name} {each.level} {format_effect(task, each.effect)}"
                for each in contrasts
                if each.effect
            ),
            data=collect_contrasts(task, contrasts),
            is_wide=columns > 2,
            series=tuple(drawn),
        )


def _find_span(contrasts: Sequence[Contrast]) -> tuple[float, float]:
    """Return the lowest and highest value to show of a panel, zero included."""
    values = [0.0]
    means = [each.effect.mean for each in contrasts if each.effect is not None]
    largest = max((abs(mean) for mean in means), default=0.0)
    # Of another way of computing, how far the loss may move is the question.
    is_price = contrasts[0].factor.key in (*COST_KEYS, "precision")
    for each in contrasts:
        if each.effect is not None:
            low, high = each.effect.interval or (each.effect.mean, each.effect.mean)
            # Else an interval of few seeds may not push what was measured into a corner.
            reach = math.inf if is_price else 2 * largest
            values += [max(low, min(each.effect.mean, -reach)), min(high, max(each.effect.mean, reach))]
    low, high = min(values), max(values)
    room = 0.08 * ((high - low) or 1.0)
    return low - room, high + room


def _draw_panel(
    axes: Axes,
    task: Task,
    contrasts: Sequence[Contrast],
    levels: Sequence[str],
    looks: Mapping[str, Look],
) -> None:
    names = list(dict.fromkeys(each.optimizer for each in contrasts))
    axes.axhline(0, color=INK, linestyle=(0, (4, 2)), linewidth=1.2, zorder=1)
    for number, name in enumerate(names):
        mine = {each.level: each for each in contrasts if each.optimizer == name}
        factor = next(iter(mine.values())).factor
        # Side by side, so that intervals of several optimizers don't hide one another.
        shift = min(0.13, 0.7 / len(names)) * (number - (len(names) - 1) / 2)
        look, gid = looks[name], name_series(name)
        points: list[tuple[float, float]] = [(levels.index(factor.baseline) + shift, 0.0)]
        axes.plot(*points[0], ".", color=look.colour, markersize=6, zorder=4, gid=gid)
        for level, each in mine.items():
            x = levels.index(level) + shift
            if each.effect is None:
                word = "div" if each.num_diverged or each.num_baseline_diverged else "none"
                axes.text(x, 0.02, word, transform=axes.get_xaxis_transform(), ha="center", fontsize=7)
                continue
            points.append((x, each.effect.mean))
            if each.effect.interval is not None:
                span = each.effect.interval
                axes.plot([x, x], span, color=look.colour, linewidth=3, alpha=0.45, zorder=2, gid=gid)
            fill = look.colour if each.is_whole else "#ffffff"
            marker: dict[str, Any] = {"color": look.colour, "markerfacecolor": fill, "zorder": 4, "gid": gid}
            axes.plot([x], [each.effect.mean], look.marker, **marker)
        if factor.is_numeric:
            axes.plot(*zip(*sorted(points), strict=True), color=look.colour, linewidth=1.2, zorder=3, gid=gid)
    prices = [_price(contrasts, level) for level in levels]
    is_priced = sum(price is not None for price in prices) >= len(levels) - 1 and len(levels) > 1
    labels = [
        name_label(level, 10) + (f"\n{1.0 if price is None else price:.2g}x time" if is_priced else "")
        for level, price in zip(levels, prices, strict=True)
    ]
    axes.set_xticks(range(len(levels)), labels)
    axes.set_xlim(-0.5, len(levels) - 0.5)


def _price(contrasts: Sequence[Contrast], level: str) -> float | None:
    """Return a level's step time against its baseline's, as a geometric mean over the optimizers."""
    logs = [math.log(each.time_ratio) for each in contrasts if each.level == level and each.time_ratio]
    return math.exp(math.fsum(logs) / len(logs)) if logs else None


def _scale(axes: Axes, task: Task, span: tuple[float, float]) -> None:
    """Draw effects on their own scale, where a half and a double are equally far, and label them as shown."""
    unit, convert = scale_of(task.arena)
    axes.set_ylim(*span)
    if unit:
        ticks = _choose_ticks(convert(span[0]), convert(span[1]))
        axes.set_yticks([math.log1p(tick / 100) for tick in ticks])
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _format_tick(convert(value))))


def _choose_ticks(low: float, high: float) -> list[float]:
    """Return round percentages between two bounds: evenly spread while that reads, else on a log scale."""
    if high <= 100:
        return [
            tick
            for tick in MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
            if low <= tick <= high
        ]
    # In steps of about a half and a double.
    candidates = [
        -99.0,
        -90.0,
        -75.0,
        -50.0,
        -25.0,
        0.0,
        50.0,
        100.0,
        200.0,
        400.0,
        900.0,
        1900.0,
        4900.0,
        1e4,
        1e5,
    ]
    ticks = [tick for tick in candidates if low <= tick <= high]
    while len(ticks) > 8:
        ticks = [tick for number, tick in enumerate(ticks) if (number - ticks.index(0.0)) % 2 == 0]
    return ticks


def _format_tick(value: float) -> str:
    return f"{value:+g}" if abs(value) > 1e-9 else "0"


def _make_handle(name: str, look: Look) -> Line2D:
    return Line2D([], [], color=look.colour, marker=look.marker, linewidth=1.2, label=name_label(name))


def _explain(task: Task, contrasts: Sequence[Contrast], *, is_shared: bool) -> str:
    seeds = sorted({each.effect.n for each in contrasts if each.effect})
    parts = [
        f"{task.name}: mean change of final validation loss against the first level of each setting, all "
        "other settings, the optimizer and the seed equal. Bar: 95 % t interval over "
        f"{' or '.join(map(str, seeds))} seeds of the mean over the combinations of the other settings; "
        "below 0 is better."
    ]
    if any(each.time_ratio for each in contrasts):
        parts.append("Below each level: its step time against the baseline's.")
    if any(each.effect and not each.is_whole for each in contrasts):
        parts.append("Hollow: combinations that diverged or failed are left out, which flatters.")
    if any(each.effect is None for each in contrasts):
        parts.append("div: no combination finished on every seed.")
    if not is_shared:
        parts.append("The panels have scales of their own.")
    return " ".join(parts)
