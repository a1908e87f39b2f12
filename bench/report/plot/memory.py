"""What each optimizer holds in memory at the peak of a step, piece by piece."""

from __future__ import annotations

import pandas as pd

from bench.report.chapter import Figure
from bench.report.escape import slug
from bench.report.look import INK, finish, name_label, new_drawing, styled
from bench.report.sweep import Arena, Cell

MIB = 2**20
# Pieces, not optimizers: a scale of its own, told apart by hatching as well.
_PIECES = (
    ("parameters", "params_bytes", "#3b4a5a", ""),
    ("gradients", "grads_bytes", "#7b8fa3", "////"),
    ("optimizer state", "state_bytes", "#2a9d9d", ""),
    ("activations + other", "other_bytes", "#d8dee6", "...."),
)


def split_memory(cell: Cell) -> dict[str, int] | None:
    """Return the bytes at a cell's peak by piece, or None where they were not measured.

    Returns:
        params_bytes, grads_bytes, state_bytes as summed from their tensors, peak_bytes as measured, and
        other_bytes, what the peak holds beyond them.
    """
    cost = cell.cost
    if cost is None or cost.peak_bytes is None:
        return None
    params, grads, state = cost.params_bytes or 0, cost.grads_bytes or 0, cost.state_bytes or 0
    return {
        "params_bytes": params,
        "grads_bytes": grads,
        "state_bytes": state,
        "other_bytes": max(0, cost.peak_bytes - params - grads - state),
        "peak_bytes": cost.peak_bytes,
    }


def draw_memory(arena: Arena) -> Figure | None:
    """Draw an arena's peak memory as stacked bars in MiB, the smallest first; None when none was measured."""
    measured = [(cell, pieces) for cell in arena.cells if (pieces := split_memory(cell)) is not None]
    if not measured:
        return None
    measured.sort(key=lambda pair: (pair[1]["peak_bytes"], pair[0].label), reverse=True)
    labels = [name_label(cell.label) for cell, _ in measured]
    with styled():
        drawing, (axes,) = new_drawing(6.4, 1.5 + 0.42 * len(measured))
        starts = [0.0] * len(measured)
        for piece, key, colour, hatch in _PIECES:
            widths = [pieces[key] / MIB for _, pieces in measured]
            axes.barh(
                range(len(measured)),
                widths,
                left=starts,
                height=0.62,
                color=colour,
                hatch=hatch,
                edgecolor="white",
                linewidth=0.5,
                label=piece,
            )
            starts = [start + width for start, width in zip(starts, widths, strict=True)]
        for index, (_, pieces) in enumerate(measured):
            peak = pieces["peak_bytes"] / MIB
            axes.text(starts[index], index, f"  {peak:.3g}", va="center", fontsize=9, color=INK)
        axes.set_yticks(range(len(measured)), labels)
        for tick, (cell, _) in zip(axes.get_yticklabels(), measured, strict=True):
            tick.set_fontweight("bold" if cell is arena.reference else "normal")
        axes.grid(axis="y", visible=False)
        axes.grid(axis="x", visible=True)
        axes.set_axisbelow(True)
        axes.set_xlim(0, max(starts) * 1.12 or 1)
        axes.set_xlabel("peak memory of one step (MiB)")
        axes.set_title(f"{name_label(arena.name, 48)}: memory", pad=26)
        axes.legend(
            loc="lower left",
            bbox_to_anchor=(-0.01, 1.0),
            ncols=4,
            frameon=False,
            fontsize=8,
            handlelength=1.2,
            columnspacing=1.0,
            borderaxespad=0.2,
        )
        return finish(
            drawing,
            name=f"memory_{slug(arena.name)}",
            caption=f"{arena.name}: peak memory of one steady step. Parameters, gradients and state "
            "are summed from their tensors; the rest of the measured peak is activations and temporaries.",
            alt=f"Stacked bars of peak memory on {arena.name}: "
            + "; ".join(f"{cell.label} {pieces['peak_bytes'] / MIB:.3g} MiB" for cell, pieces in measured),
            data=pd.DataFrame(
                [{"arena": arena.name, "optimizer": cell.label, **pieces} for cell, pieces in measured]
            ),
        )
