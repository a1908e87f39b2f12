"""What each optimizer holds in memory during a step, piece by piece, and the peak of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.report.chapter import Figure
from bench.report.escape import slug
from bench.report.look import INK, Look, finish, name_label, styled
from bench.report.memory_tables import choose_unit, collect_memory
from bench.report.metered import Metered
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
from bench.result import Cost

_PIECES = (
    Piece(name="parameters", colour="#3b4a5a", hatch=""),
    Piece(name="gradients", colour="#7b8fa3", hatch="////"),
    Piece(name="optimizer state", colour="#2a9d9d", hatch=""),
    Piece(name="saved activations", colour="#b9c4d0", hatch=""),
    Piece(name="cuBLAS's workspace", colour="#E69F00", hatch=""),
    Piece(name="other", colour="#e4e9ee", hatch="\\\\\\\\"),
)


def draw_memory(rows: Sequence[Metered], looks: Mapping[str, Look]) -> tuple[Figure, ...]:
    """Draw the memory of rows of which something is known, a figure for each place."""
    return tuple(_draw(group, looks) for group in pick_groups(rows))


def _draw(group: Group, looks: Mapping[str, Look]) -> Figure:
    costs = [row.cost for row in group.rows if row.cost is not None]
    unit, size = choose_unit([_find_peak(cost) for cost in costs])
    bars = [
        Bar(
            label=label,
            row=row,
            look=find_look(row, looks),
            sizes=tuple(part / size for part in _split(cost)),
        )
        for label, row, cost in zip(group.labels, group.rows, costs, strict=True)
    ]
    with styled():
        drawing, axes, shown = draw_bars(group, bars, _PIECES, lambda bar: _find_peak(bar.row.cost) / size)
        reach = 0.0
        for index, bar in enumerate(shown):
            cost = bar.row.cost
            assert cost is not None
            measured = None if cost.peak_bytes is None else cost.peak_bytes / size
            predicted = None if cost.predicted is None else cost.predicted.peak_bytes / size
            if measured is not None:
                label = "peak, measured" if index == 0 else None
                axes.plot(
                    [measured] * 2, [index - 0.4, index + 0.4], color=INK, linewidth=2, zorder=4, label=label
                )
            if predicted is not None:
                label = "peak, predicted" if index == 0 else None
                axes.plot(
                    [predicted],
                    [index],
                    "D",
                    color=bar.look.colour,
                    markerfacecolor="white",
                    markersize=6,
                    linestyle="none",
                    zorder=5,
                    label=label,
                )
            end = max(measured or 0.0, predicted or 0.0, sum(bar.sizes))
            reach = max(reach, end)
        write_values(axes, [f"{_find_peak(bar.row.cost) / size:.3g}" for bar in shown])
        axes.set_xlim(0, reach * 1.03 or 1)
        axes.set_xlabel(f"memory of one step ({unit})")
        axes.set_title(f"{name_label(group.title, 48)}: memory")
        add_legend(drawing, axes, is_wide=group.is_wide)
        return finish(
            drawing,
            name=f"memory_{slug(group.name)}",
            caption=_explain(group, costs) + count_left_out(bars, shown),
            alt=f"Stacked bars of memory on {group.title}; peak: "
            + "; ".join(f"{bar.label} {_find_peak(bar.row.cost) / size:.3g} {unit}" for bar in shown),
            data=collect_memory(group.rows),
            is_wide=group.is_wide,
        )


def _find_peak(cost: Cost | None) -> int:
    """Return the measured peak, or the predicted one where nothing was measured."""
    assert cost is not None
    if cost.peak_bytes is not None:
        return cost.peak_bytes
    assert cost.predicted is not None
    return cost.predicted.peak_bytes


def _split(cost: Cost) -> tuple[int, ...]:
    """Return the bytes of the pieces; what none of them is, up to the peak, is other."""
    known = (cost.params_bytes or 0, cost.grads_bytes or 0, cost.state_bytes or 0)
    saved = cost.predicted.saved_bytes if cost.predicted else 0
    workspace = cost.workspace_bytes or 0
    return (*known, saved, workspace, max(0, _find_peak(cost) - sum(known) - saved - workspace))


def _explain(group: Group, costs: Sequence[Cost]) -> str:
    parts = [
        f"{group.title}: memory of one steady step. Parameters, gradients and state are summed from their "
        "tensors, each at its most; they need not be alive at once, so a bar may pass its peak."
    ]
    if any(cost.predicted for cost in costs):
        parts.append(
            "Saved activations and the predicted peak (diamond) are counted under fake tensors. Other: what "
            "the peak holds beyond the pieces, such as temporaries."
        )
    if not all(cost.predicted for cost in costs):
        parts.append("Where activations were not counted they are part of other.")
    parts.append(
        "Black line: the measured peak, in numbers at the right; one measurement, to the byte, so it has no "
        "interval."
    )
    return " ".join(parts)
