"""Final loss over the length of a whole training: where an optimizer's end meets the reference's line."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator

from bench.report.chapter import Figure
from bench.report.escape import slug
from bench.report.look import FAINT, Look, finish, name_label, name_series, new_drawing, set_log, styled
from bench.report.speedup import Ladder, find_steps
from bench.report.sweep import Cell
from bench.stats import summarise


def draw_speedup(ladder: Ladder, looks: dict[str, Look]) -> Figure | None:
    """Draw final loss over steps, a line per optimizer; None where the reference has no line."""
    lines: dict[str, list[tuple[int, float, float, float]]] = {}
    for arena in ladder.arenas.values():
        for cell in arena.cells:
            if cell.is_complete:
                lines.setdefault(cell.label, []).append(_summarise(cell))
    reference = ladder.base.reference.label
    if len(lines.get(reference, [])) < 2:
        return None
    labels = sorted(lines, key=lambda label: (lines[label][-1][1], label))
    steps = sorted({point[0] for line in lines.values() for point in line})
    losses = [value for line in lines.values() for point in line for value in point[2:]]
    name = ladder.base.name
    with styled():
        drawing, (axes,) = new_drawing(6.4, 3.8)
        for label in labels:
            x, y, low, high = zip(*lines[label], strict=True)
            look = looks[label]
            gid = name_series(label)
            axes.vlines(x, low, high, color=look.colour, linewidth=3, alpha=0.3, zorder=2, gid=gid)
            axes.plot(
                x,
                y,
                color=look.colour,
                marker=look.marker,
                markersize=8 if label == reference else 6,
                linestyle=(0, (4, 2)) if look.is_dashed else "-",
                linewidth=1.8 if label == reference else 1.2,
                label=name_label(label),
                zorder=3,
                gid=gid,
            )
        _draw_gaps(axes, lines, ladder)
        axes.set_xscale("log")
        if min(losses) > 0:
            set_log(axes, min(losses), max(losses))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_locator(FixedLocator(steps))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("steps of the whole training, each with its own schedule")
        axes.set_ylabel("final validation loss")
        axes.set_title(f"{name_label(name, 48)}: final loss by horizon")
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=9)
        return finish(
            drawing,
            name=f"speedup_{slug(name)}",
            caption=f"{name}: final validation loss of whole trainings of {len(steps)} lengths; mean, and "
            "bars from the lowest to the highest seed. Read sideways from an optimizer at "
            f"{steps_of(ladder)} steps to the dashed line of {reference}: the steps that {reference} needs "
            "for the same loss (dotted).",
            alt=f"Line chart of final loss over steps on {name}: "
            + "; ".join(
                f"{label} " + ", ".join(f"{point[1]:.3g} at {point[0]}" for point in lines[label])
                for label in labels
            ),
            data=pd.DataFrame(
                [
                    {
                        "arena": arena.name,
                        "horizon": horizon,
                        "optimizer": cell.label,
                        "num_steps": cell.study.budget.steps,
                        "seed": seed,
                        "val_loss": loss,
                    }
                    for horizon, arena in ladder.arenas.items()
                    for cell in arena.cells
                    for seed, loss in cell.losses.items()
                ]
            ),
            series=labels,
        )


def _draw_gaps(axes: Axes, lines: dict[str, list[tuple[int, float, float, float]]], ladder: Ladder) -> None:
    """Draw how far each optimizer's end at the full horizon is from the reference's line, sideways."""
    rungs = [(point[0], point[1]) for point in lines[ladder.base.reference.label]]
    for cell in ladder.base.cells:
        if cell is ladder.base.reference or not cell.is_complete:
            continue
        steps, loss, *_ = _summarise(cell)
        needed = find_steps(rungs, loss)
        if isinstance(needed, float):
            gid = name_series(cell.label)
            axes.plot(
                [steps, needed], [loss, loss], color=FAINT, linestyle=":", linewidth=1.4, zorder=1, gid=gid
            )


def steps_of(ladder: Ladder) -> int:
    """Return the steps of a ladder's full horizon."""
    return ladder.base.study.budget.steps


def _summarise(cell: Cell) -> tuple[int, float, float, float]:
    losses = list(cell.losses.values())
    return cell.study.budget.steps, summarise(losses)[0], min(losses), max(losses)
