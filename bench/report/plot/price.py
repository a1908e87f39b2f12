"""What each level costs against its baseline: step time with its interval, peak memory, side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter, NullLocator

from bench.report.chapter import Figure
from bench.report.contrast import Contrast, collect_contrasts
from bench.report.escape import slug
from bench.report.factor import Task
from bench.report.look import INK, Look, finish, name_label, new_drawing, styled
from bench.report.pace import format_pace

# More rows are what the table is for.
_MAX_ROWS = 24


def draw_prices(task: Task, contrasts: Sequence[Contrast], looks: Mapping[str, Look]) -> Figure | None:
    """Draw the ratios of step time and peak memory of each level; None where no time has an interval.

    Args:
        task: What the contrasts are of.
        contrasts: All of the task's.
        looks: Optimizer -> look.
    """
    if not any(each.time is not None and each.time.interval is not None for each in contrasts):
        return None
    priced = [each for each in contrasts if each.time is not None or each.memory_ratio is not None]
    # From the top as in the table.
    shown = priced[:_MAX_ROWS][::-1]
    noise = max((each.time.noise for each in shown if each.time and each.time.noise), default=0.0)
    with styled():
        drawing, (left, right) = new_drawing(8.4, 1.2 + 0.3 * len(shown), 2, 2)
        if noise:
            left.axvspan(1 / (1 + noise), 1 + noise, color="#e4e7eb", zorder=0, linewidth=0)
        for row, each in enumerate(shown):
            look = looks[each.optimizer]
            if each.time is not None:
                if each.time.interval is not None:
                    left.plot(
                        each.time.interval, [row, row], color=look.colour, linewidth=4, alpha=0.5, zorder=2
                    )
                _mark(left, each.time.ratio, row, look)
            else:
                word = "no speed claim" if each.time_obstacle else "not measured"
                left.text(0.03, row, word, transform=left.get_yaxis_transform(), va="center", fontsize=8)
            if each.memory_ratio is not None:
                _mark(right, each.memory_ratio, row, look)
        left.set_yticks(range(len(shown)), [_name(each) for each in shown])
        right.set_yticks(range(len(shown)), [""] * len(shown))
        for axes, text in ((left, "step time / baseline's"), (right, "peak memory / baseline's")):
            axes.axvline(1, color="#000000", linestyle=(0, (4, 2)), linewidth=1.2, zorder=1)
            axes.set_ylim(-0.6, len(shown) - 0.4)
            axes.grid(axis="y", visible=False)
            axes.grid(axis="x", visible=True)
            axes.set_xlabel(f"{text}, lower is cheaper", fontsize=9)
            axes.tick_params(labelsize=8)
        _scale(
            left,
            [bound for each in shown if each.time for bound in (each.time.interval or (each.time.ratio,))],
        )
        _scale(right, [each.memory_ratio for each in shown if each.memory_ratio is not None])
        left.set_title(f"{name_label(task.name, 40)}: what each level costs")
        return finish(
            drawing,
            name=f"prices_{slug(task.name)}",
            caption=f"{task.name}: step time and peak memory of each level over its baseline's, all else "
            "equal; geometric mean over the combinations of the other settings. Bar: 95 % interval of one "
            "measurement of each cell, by the reference step in common; grey: the A/A noise. Memory is "
            "counted, not sampled, so it has no interval."
            + f" {len(priced) - len(shown)} more are in the CSV."
            * (len(priced) > len(shown)),
            alt=f"Ratios of step time and peak memory on {task.name}: "
            + "; ".join(
                f"{_name(each)} {format_pace(each.time) if each.time else 'no time'}, "
                + (f"{each.memory_ratio:.3g} memory" if each.memory_ratio is not None else "no memory")
                for each in shown[::-1]
            ),
            data=collect_contrasts(task, contrasts),
            is_wide=True,
        )


def _mark(axes: Axes, ratio: float, row: int, look: Look) -> None:
    axes.plot([ratio], [row], look.marker, color=look.colour, markersize=7, zorder=4)
    # In the right margin, where no line crosses it.
    where = axes.get_yaxis_transform()
    axes.text(1.01, row, f"{ratio:.3g}", transform=where, va="center", fontsize=8, color=INK)


def _name(each: Contrast) -> str:
    return name_label(f"{each.optimizer} {each.factor.name} {each.factor.baseline} > {each.level}", 46)


def _scale(axes: Axes, ratios: Sequence[float]) -> None:
    """Draw ratios on a log scale, where a half and a double are equally far, with few plain numbers."""
    low, high = min([*ratios, 0.9]), max([*ratios, 1.1])
    room = (high / low) ** 0.08
    axes.set_xscale("log")
    axes.set_xlim(low / room, high * room)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    if high / low < 4:
        ticks = [
            tick
            for tick in MaxNLocator(4).tick_values(low / room, high * room)
            if low / room <= tick <= high * room
        ]
    else:
        steps = range(math.floor(math.log2(low)), math.ceil(math.log2(high)) + 1)
        ticks = [2.0**step for step in steps][:: max(1, len(steps) // 6)]
        ticks = [tick for tick in ticks if low / room <= tick <= high * room]
    axes.set_xticks(ticks)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
