"""Stacked bars of what a step costs, a bar per cell: the plumbing that time and memory share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from bench.report.alone import shorten_names, spread
from bench.report.look import INK, Look, name_label, new_drawing
from bench.report.metered import Metered, group_places
from bench.report.variant import show_precision, strip_label

# More bars than this are more than a page is high; more figures are more than it is long.
_MAX_BARS, _MAX_FIGURES = 20, 6
# Of arenas that stand alone, whose names are long.
_MAX_ALONE = 14
# Of a label in a figure of the usual width.
_MAX_COLUMNS = 24


@dataclass(frozen=True, kw_only=True)
class Piece:
    """One part of every bar, told from the others by hatching as well as by colour."""

    name: str
    colour: str
    # Lines only: matplotlib writes a hatch of dots as 250 kB of outlines.
    hatch: str


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One cell of a figure."""

    label: str
    row: Metered
    look: Look
    # In the order of the pieces, in the unit of the axis.
    sizes: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Group:
    """The cells of one figure."""

    # Of the file, after the figure's kind.
    name: str
    title: str
    rows: tuple[Metered, ...]
    # Label of each row's bar.
    labels: tuple[str, ...]
    # Of arenas that have nothing else in common.
    is_alone: bool = False

    @property
    def is_wide(self) -> bool:
        """Whether long labels ask for a wide figure."""
        return self.is_alone or max(map(len, self.labels)) > _MAX_COLUMNS


def pick_groups(rows: Sequence[Metered]) -> tuple[Group, ...]:
    """Return the groups that have a figure: as many as keep the page small."""
    return _group(rows)[:_MAX_FIGURES]


def name_left_out(rows: Sequence[Metered]) -> str | None:
    """Return which places have no figure; None where all have one."""
    names = [group.title for group in _group(rows)[_MAX_FIGURES:]]
    return f"Not drawn, to keep the page small: {', '.join(names)}; the table holds them." if names else None


def _group(rows: Sequence[Metered]) -> tuple[Group, ...]:
    """Return a group per place where several cells compare, and one of all that stand alone in theirs."""
    places = group_places(rows)
    alone = [group[0] for group in places.values() if len(group) == 1]
    if len(alone) < 2:
        alone = []
    groups = [
        Group(
            name=place, title=place, rows=tuple(group), labels=tuple(map(_label, group, [group] * len(group)))
        )
        for place, group in places.items()
        if group[0] not in alone
    ]
    if alone:
        short = shorten_names([row.arena for row in alone])
        labels = tuple(short[row.arena.name] for row in alone)
        title = f"{len(alone)} arenas"
        groups.append(Group(name="alone", title=title, rows=tuple(alone), labels=labels, is_alone=True))
    return tuple(groups)


def draw_bars(
    group: Group, bars: Sequence[Bar], pieces: Sequence[Piece], rank: Callable[[Bar], float]
) -> tuple[Drawing, Axes, list[Bar]]:
    """Draw stacked bars, the smallest at the top; of very many some, evenly spaced.

    Args:
        group: Whose bars they are.
        bars: At least one.
        pieces: What the sizes of a bar are of.
        rank: What a bar is sorted by.

    Returns:
        The drawing, its axes, and the bars in the order of their y, from 0.
    """
    ordered = sorted(bars, key=lambda bar: (-rank(bar), bar.label))
    shown = spread(ordered, _MAX_ALONE if group.is_alone else _MAX_BARS)
    # Many bars are thinner.
    thickness = 0.42 if len(shown) <= 12 else 0.26
    drawing, (axes,) = new_drawing(8.4 if group.is_wide else 6.4, 1.6 + thickness * len(shown))
    starts = [0.0] * len(shown)
    for number, piece in enumerate(pieces):
        widths = [bar.sizes[number] for bar in shown]
        if not any(widths):
            continue
        axes.barh(
            range(len(shown)),
            widths,
            left=starts,
            height=0.62,
            color=piece.colour,
            hatch=piece.hatch,
            edgecolor="white",
            linewidth=0.5,
            label=piece.name,
            zorder=2,
        )
        starts = [start + width for start, width in zip(starts, widths, strict=True)]
    axes.set_yticks(
        range(len(shown)), [name_label(bar.label, 44 if group.is_wide else _MAX_COLUMNS) for bar in shown]
    )
    for tick, bar in zip(axes.get_yticklabels(), shown, strict=True):
        tick.set_fontweight("bold" if bar.row.is_reference and not group.is_alone else "normal")
    axes.set_ylim(-0.6, len(shown) - 0.4)
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", visible=True)
    axes.set_axisbelow(True)
    return drawing, axes, shown


def write_values(axes: Axes, values: Sequence[str]) -> None:
    """Write a number for each bar into the right margin, where nothing hides it."""
    for index, value in enumerate(values):
        axes.text(
            1.01, index, value, transform=axes.get_yaxis_transform(), va="center", fontsize=9, color=INK
        )


def add_legend(drawing: Drawing, axes: Axes, *, is_wide: bool) -> None:
    """Put the legend above the axes, where no bar is."""
    handles, names = axes.get_legend_handles_labels()
    drawing.legend(
        handles,
        names,
        loc="outside upper left",
        ncols=6 if is_wide else 4,
        frameon=False,
        fontsize=8,
        handlelength=1.2,
        columnspacing=1.0,
    )


def count_left_out(bars: Sequence[Bar], shown: Sequence[Bar]) -> str:
    """Return how many bars a figure shows, as the end of its caption."""
    if len(shown) == len(bars):
        return ""
    return f" Shown are {len(shown)} of {len(bars)}, evenly spaced from the most to the least."


def find_look(row: Metered, looks: Mapping[str, Look]) -> Look:
    """Return the look of a row's optimizer."""
    return looks[row.cell.label]


def _label(row: Metered, group: Sequence[Metered]) -> str:
    is_varied = len({show_precision(each.cell) for each in group}) > 1
    name = strip_label(row.cell)
    words = row.cell.label.split(" ")[len(name.split(" ")) :]
    return " ".join([name, *([show_precision(row.cell)] * is_varied), *words])
