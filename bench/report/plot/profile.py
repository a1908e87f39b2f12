"""In what share of arenas each optimizer stays within so many times the reference's loss."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter

from bench.report.across import League
from bench.report.chapter import Figure
from bench.report.escape import slug
from bench.report.look import INK, Look, finish, name_label, name_series, new_drawing, styled
from bench.report.plot.curves import MAX_LINES
from bench.report.sweep import Arena, Cell
from bench.stats import MIN_PROFILE_ARENAS, performance_profile, summarise

# Ratios that span more than this are drawn on a logarithmic axis.
_WIDE = 5.0
_MAX_PANELS = 2


def draw_profile(league: League, looks: dict[str, Look]) -> Figure | str:
    """Draw a league's performance profile, or return the one line that says why there is none."""
    arenas = [arena for arena in league.arenas if arena.reference.is_complete]
    if len(arenas) < MIN_PROFILE_ARENAS:
        return (
            f"No performance profile: it needs at least {MIN_PROFILE_ARENAS} arenas with a complete "
            f"{league.reference}, here {'is' if len(arenas) == 1 else 'are'} {len(arenas)}."
        )
    cells = {
        each.label: [_find(arena, each.label) for arena in arenas]
        for each in league.standings
        if len(each.arenas) == len(league.arenas)
    }
    every = [cell for row in (*cells.values(), [arena.reference for arena in arenas]) for cell in row]
    if not cells or any(arena.study.workload.effect != "log_ratio" for arena in arenas):
        return "No performance profile: no optimizer ran in every arena, or losses there are no ratios."
    if any(loss <= 0 for cell in every for loss in cell.losses.values()):
        return "No performance profile: a loss is not above 0, so that it has no ratio."
    base = [summarise(list(arena.reference.losses.values()))[0] for arena in arenas]
    costs = {label: [_cost(cell) for cell in row] for label, row in cells.items()}
    ratios = sorted(
        {1.0}
        | {
            cost / other
            for row in costs.values()
            for cost, other in zip(row, base, strict=True)
            if cost is not None and math.isfinite(cost / other)
        }
    )
    profile = performance_profile(costs, base, ratios)
    assert profile is not None, league.reference
    return _draw(league, looks, len(arenas), ratios, profile)


def _find(arena: Arena, label: str) -> Cell:
    return next(cell for cell in arena.cells if cell.label == label)


def _cost(cell: Cell) -> float | None:
    """Return the mean final loss; None without an honest one."""
    return summarise(list(cell.losses.values()))[0] if cell.is_complete else None


def _draw(
    league: League,
    looks: dict[str, Look],
    num_arenas: int,
    ratios: list[float],
    profile: dict[str, list[float]],
) -> Figure:
    labels = sorted(profile)
    panels = [labels[start : start + MAX_LINES] for start in range(0, len(labels), MAX_LINES)]
    reference = name_label(league.reference)
    room = (ratios[-1] / ratios[0]) ** 0.05 * 1.002
    low, high = ratios[0] / room, ratios[-1] * room
    with styled():
        drawing, all_axes = new_drawing(6.4, 2.8 * len(panels), len(panels))
        for axes, panel in zip(all_axes, panels, strict=True):
            axes.axvline(
                1.0, color="#000000", linestyle=(0, (4, 2)), linewidth=1.4, label=reference, zorder=1
            )
            for label in panel:
                _draw_line(axes, label, [low, *ratios, high], profile[label], looks[label])
            if high / low > _WIDE:
                axes.set_xscale("log")
                axes.xaxis.set_major_locator(
                    LogLocator(base=10, subs=(1, 2, 5) if high / low < 1e3 else (1,))
                )
                axes.xaxis.set_minor_formatter(NullFormatter())
                axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axes.set_xlim(low, high)
            axes.set_ylim(-0.04, 1.04)
            axes.set_xlabel(f"final validation loss / that of {reference}, lower is better")
            axes.set_ylabel("share of arenas")
            axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=9)
        all_axes[0].set_title(f"Arenas within a ratio to {reference}", color=INK)
        at_par = {label: profile[label][ratios.index(1.0)] for label in labels}
        return finish(
            drawing,
            name=f"profile_{slug(league.reference)}",
            caption=f"Performance profile over {num_arenas} arenas: in what share of them the mean final "
            f"loss is at most so many times that of {league.reference} (dashed, at 1). A line further up and "
            "to the left is better; one without a complete result in an arena never gets there.",
            alt=f"Performance profile against {league.reference} over {num_arenas} arenas: "
            + "; ".join(f"{label} at or below it in {share:.0%}" for label, share in at_par.items()),
            data=pd.DataFrame(
                [
                    {
                        "reference": league.reference,
                        "optimizer": label,
                        "num_arenas": num_arenas,
                        "loss_ratio": ratio,
                        "share_of_arenas": share,
                    }
                    for label in labels
                    for ratio, share in zip(ratios, profile[label], strict=True)
                ]
            ),
            series=labels,
            # One of many settings is looked up, not read.
            is_folded=len(panels) > _MAX_PANELS,
        )


def _draw_line(axes: Axes, label: str, x: list[float], shares: list[float], look: Look) -> None:
    y = [0.0, *shares, shares[-1]]
    axes.plot(
        x,
        y,
        gid=name_series(label),
        color=look.colour,
        marker=look.marker,
        markersize=5,
        markevery=[index for index in range(1, len(y)) if y[index] > y[index - 1]],
        linewidth=1.8,
        drawstyle="steps-post",
        label=name_label(label),
        zorder=3,
    )
