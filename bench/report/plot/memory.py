"""What each optimizer holds in memory at the peak of a step, piece by piece."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from bench.report.alone import shorten_names, spread
from bench.report.chapter import Figure
from bench.report.escape import slug
from bench.report.look import INK, finish, name_label, new_drawing, styled
from bench.report.sweep import Arena, Cell

MIB = 2**20
# Pieces, not optimizers: a scale of its own, told apart by hatching as well. Lines only: matplotlib writes a
# hatch of dots as 250 kB of outlines.
_PIECES = (
    ("parameters", "params_bytes", "#3b4a5a", ""),
    ("gradients", "grads_bytes", "#7b8fa3", "////"),
    ("optimizer state", "state_bytes", "#2a9d9d", ""),
    ("activations + other", "other_bytes", "#d8dee6", "\\\\\\\\"),
)
# More bars than this are more than a page is high.
_MAX_BARS = 30


@dataclass(frozen=True, kw_only=True)
class _Bar:
    label: str
    arena: Arena
    cell: Cell
    pieces: dict[str, int]
    is_reference: bool = False


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
    bars = [
        _Bar(label=cell.label, arena=arena, cell=cell, pieces=pieces, is_reference=cell is arena.reference)
        for cell in arena.cells
        if (pieces := split_memory(cell)) is not None
    ]
    if not bars:
        return None
    return _draw(bars, f"memory_{slug(arena.name)}", arena.name)


def draw_memory_alone(arenas: Sequence[Arena]) -> Figure | None:
    """Draw the same of arenas with one cell each, a bar per arena; of very many some, evenly spaced."""
    short = shorten_names(arenas)
    bars = [
        _Bar(label=short[arena.name], arena=arena, cell=arena.cells[0], pieces=pieces)
        for arena in arenas
        if (pieces := split_memory(arena.cells[0])) is not None
    ]
    if not bars:
        return None
    return _draw(bars, "memory_alone", f"{len(bars)} arenas", is_wide=True)


def _draw(bars: Sequence[_Bar], name: str, title: str, *, is_wide: bool = False) -> Figure:
    ordered = sorted(bars, key=lambda bar: (bar.pieces["peak_bytes"], bar.label), reverse=True)
    shown = spread(ordered, _MAX_BARS)
    # Many bars are thinner.
    thickness = 0.42 if len(shown) <= 12 else 0.26
    with styled():
        drawing, (axes,) = new_drawing(8.4 if is_wide else 6.4, 1.5 + thickness * len(shown))
        starts = [0.0] * len(shown)
        for piece, key, colour, hatch in _PIECES:
            widths = [bar.pieces[key] / MIB for bar in shown]
            axes.barh(
                range(len(shown)),
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
        for index, bar in enumerate(shown):
            peak = bar.pieces["peak_bytes"] / MIB
            axes.text(starts[index], index, f"  {peak:.3g}", va="center", fontsize=9, color=INK)
        axes.set_yticks(range(len(shown)), [name_label(bar.label, 40 if is_wide else 26) for bar in shown])
        for tick, bar in zip(axes.get_yticklabels(), shown, strict=True):
            tick.set_fontweight("bold" if bar.is_reference else "normal")
        axes.set_ylim(-0.6, len(shown) - 0.4)
        axes.grid(axis="y", visible=False)
        axes.grid(axis="x", visible=True)
        axes.set_axisbelow(True)
        axes.set_xlim(0, max(starts) * 1.12 or 1)
        axes.set_xlabel("peak memory of one step (MiB)")
        axes.set_title(f"{name_label(title, 48)}: memory", pad=26)
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
        part = (
            f" Shown are {len(shown)} of {len(bars)}, evenly spaced from the most to the least."
            if len(shown) < len(bars)
            else ""
        )
        return finish(
            drawing,
            name=name,
            caption=f"{title}: peak memory of one steady step. Parameters, gradients and state are summed "
            f"from their tensors; the rest of the measured peak is activations and temporaries.{part}",
            alt=f"Stacked bars of peak memory on {title}: "
            + "; ".join(f"{bar.label} {bar.pieces['peak_bytes'] / MIB:.3g} MiB" for bar in shown),
            data=pd.DataFrame(
                [{"arena": bar.arena.name, "optimizer": bar.cell.label, **bar.pieces} for bar in ordered]
            ),
            is_wide=is_wide,
        )
