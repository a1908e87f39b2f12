"""How long a step of each optimizer takes, and which of its parts takes it."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from bench.report.chapter import Figure
from bench.report.escape import slug
from bench.report.look import FAINT, INK, Look, finish, name_label, styled
from bench.report.metered import Metered, show_span
from bench.report.pace import noise_of
from bench.report.plot.bars import (
    Bar,
    Group,
    Piece,
    add_legend,
    count_left_out,
    draw_bars,
    find_look,
    pick_groups,
    write_values,
)
from bench.report.speed_data import collect_speed
from bench.report.speed_tables import CLOCKS
from bench.result import Cost

_PIECES = (
    Piece(name="data", colour="#e4e9ee", hatch="\\\\\\\\"),
    Piece(name="forward", colour="#7b8fa3", hatch="////"),
    Piece(name="backward", colour="#3b4a5a", hatch=""),
    Piece(name="optimizer", colour="#2a9d9d", hatch=""),
    Piece(name="not told apart", colour="#c9d1d9", hatch=""),
)


def draw_speed(rows: Sequence[Metered], looks: Mapping[str, Look]) -> tuple[Figure, ...]:
    """Draw the step times of rows that have any to show, a figure for each place."""
    timed = [row for row in rows if row.timed is not None and row.timed.step_p50_s]
    return tuple(_draw(group, looks) for group in pick_groups(timed))


def _draw(group: Group, looks: Mapping[str, Look]) -> Figure:
    bars = [
        Bar(label=label, row=row, look=find_look(row, looks), sizes=_split(row.timed))
        for label, row in zip(group.labels, group.rows, strict=True)
        if row.timed is not None
    ]
    costs = [bar.row.timed for bar in bars if bar.row.timed is not None]
    with styled():
        drawing, axes, shown = draw_bars(group, bars, _PIECES, _find_middle)
        has_reference = not group.is_alone and _draw_reference(axes, costs)
        ends = [max(sum(bar.sizes), _draw_whisker(axes, index, bar)) for index, bar in enumerate(shown)]
        write_values(axes, [f"{_find_middle(bar):.3g}" for bar in shown])
        axes.set_xlim(0, max(ends) * 1.03)
        axes.set_xlabel("time of one step (ms)")
        axes.set_title(f"{name_label(group.title, 48)}: step time")
        add_legend(drawing, axes, is_wide=group.is_wide)
        return finish(
            drawing,
            name=f"speed_{slug(group.name)}",
            caption=_explain(group, costs, has_reference=has_reference) + count_left_out(bars, shown),
            alt=f"Stacked bars of step time on {group.title}; median: "
            + "; ".join(f"{bar.label} {_find_middle(bar):.3g} ms" for bar in shown),
            data=collect_speed(group.rows),
            is_wide=group.is_wide,
        )


def _find_middle(bar: Bar) -> float:
    cost = bar.row.timed
    assert cost is not None and cost.step_p50_s is not None, bar.label
    return 1e3 * cost.step_p50_s


def _split(cost: Cost) -> tuple[float, ...]:
    """Return the milliseconds of the pieces: of the phases, or of the whole step where it was not cut."""
    parts = cost.breakdown
    if parts is None:
        return 0.0, 0.0, 0.0, 0.0, 1e3 * (cost.step_p50_s or 0.0)
    phases = (parts.data_s, parts.forward_s, parts.backward_s, parts.optimizer_s)
    return (*(1e3 * phase for phase in phases), 0.0)


def _draw_whisker(axes: Axes, index: int, bar: Bar) -> float:
    """Draw the median of whole steps and the middle half of them; return where that ends."""
    cost, middle = bar.row.timed, _find_middle(bar)
    assert cost is not None
    low, high = (1e3 * value if value is not None else middle for value in (cost.step_p25_s, cost.step_p75_s))
    axes.plot([low, high], [index, index], color=INK, linewidth=1.6, zorder=4)
    for end in (low, high):
        axes.plot([end, end], [index - 0.14, index + 0.14], color=INK, linewidth=1.6, zorder=4)
    look = bar.look
    axes.plot(
        [middle],
        [index],
        look.marker,
        color=look.colour,
        markeredgecolor="white",
        markersize=9 if look.is_dashed else 7,
        zorder=5,
    )
    return max(high, middle)


def _draw_reference(axes: Axes, costs: Sequence[Cost]) -> bool:
    """Draw the reference step and how far it lay from itself; return whether there is one."""
    known = [cost for cost in costs if cost.reference is not None]
    if not known:
        return False
    middle = 1e3 * statistics.median(cost.reference.step_p50_s for cost in known if cost.reference)
    noise = max(noise_of(cost) or 0.0 for cost in known)
    axes.axvspan(
        middle / (1 + noise), middle * (1 + noise), color="#d0d7de", alpha=0.6, zorder=1, linewidth=0
    )
    axes.axvline(middle, color=FAINT, linestyle=(0, (4, 2)), linewidth=1.4, zorder=3, label="reference step")
    return True


def _explain(group: Group, costs: Sequence[Cost], *, has_reference: bool) -> str:
    steps = show_span(cost.num_steps for cost in costs)
    clocks = dict.fromkeys(CLOCKS[cost.clock] for cost in costs if cost.clock)
    parts = [
        f"{group.title}: one step by its phases, medians from blocks of their own. Marker and whisker: "
        f"median and middle half (p25 to p75) of n = {steps} whole steps inside one "
        f"measurement; at the right: the median. Clock: {'; '.join(clocks) or 'unknown'}."
    ]
    if has_reference:
        parts.append(
            "Dashed: the reference step (SGD, fp32, nothing recomputed or compiled), median over the cells; "
            "grey: how far it lay from itself (A/A, the furthest end of the 95 % intervals)."
        )
    return " ".join(parts)
