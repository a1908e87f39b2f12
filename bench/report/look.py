"""How every figure looks: one colour and marker per optimizer throughout, and the same bytes every time."""

from __future__ import annotations

import hashlib
import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from bench.report.chapter import Figure
from bench.report.escape import shorten
from bench.report.sweep import Sweep

# Okabe and Ito 2008, "Color universal design": told apart by colour-blind readers too. Black is the
# reference's; yellow is left out, being too faint on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
# Seven to six colours: 42 optimizers before a pair of colour and marker comes again.
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
INK = "#24292f"
FAINT = "#8b949e"
# Dots per inch of the PNG beside each SVG.
DPI = 150

_RULES = {
    "svg.hashsalt": "bench",
    "svg.fonttype": "path",
    # A name may hold a dollar sign.
    "text.parse_math": False,
    "axes.unicode_minus": True,
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": "#e4e7eb",
    "grid.linewidth": 0.8,
    "hatch.linewidth": 0.6,
}


@dataclass(frozen=True, kw_only=True)
class Look:
    """How one optimizer is drawn."""

    colour: str
    marker: str
    is_dashed: bool = False


REFERENCE_LOOK = Look(colour="#000000", marker="*", is_dashed=True)


def assign_looks(sweep: Sweep) -> dict[str, Look]:
    """Return the look of every label of a sweep: the same in all its figures."""
    labels = sorted({cell.label for arena in sweep.arenas for cell in arena.cells})
    references = {arena.reference.label for arena in sweep.arenas}
    coloured = [label for label in labels if label not in references]
    looks = {label: REFERENCE_LOOK for label in references}
    for index, label in enumerate(coloured):
        looks[label] = Look(colour=COLOURS[index % len(COLOURS)], marker=MARKERS[index % len(MARKERS)])
    # The same optimizer, however its step is computed.
    for cell in (cell for arena in sweep.arenas for cell in arena.variants):
        looks.setdefault(cell.label, looks[cell.variant_of or cell.label])
    return looks


@contextmanager
def styled() -> Iterator[None]:
    """Draw by the rules of this file, whatever matplotlib is set to elsewhere in the process."""
    with mpl.rc_context(), warnings.catch_warnings():
        # A name may hold characters that the font lacks: a box is shown, and that is enough.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        rules: dict[Any, Any] = {**sns.axes_style("whitegrid"), **_RULES}
        mpl.rcParams.update(rules)
        yield


def new_drawing(
    width: float, height: float, num_axes: int = 1, columns: int = 1
) -> tuple[Drawing, list[Axes]]:
    """Return an empty drawing and its axes, row by row.

    Args:
        width: Inches.
        height: Inches.
        num_axes: How many axes are wanted.
        columns: How many stand side by side.
    """
    drawing = Drawing(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(drawing)
    rows = -(-num_axes // columns)
    axes = [drawing.add_subplot(rows, columns, index + 1) for index in range(num_axes)]
    for each in axes:
        sns.despine(ax=each, left=True)
        each.grid(axis="x", visible=False)
    return drawing, axes


def finish(
    drawing: Drawing,
    *,
    name: str,
    caption: str,
    alt: str,
    data: pd.DataFrame,
    is_picture: bool = False,
    is_wide: bool = False,
    series: Sequence[str] = (),
    is_folded: bool = False,
) -> Figure:
    """Return a drawing as SVG and PNG beside its data; undated, so that equal data gives equal bytes."""
    svg, png = render(drawing)
    return Figure(
        name=name,
        caption=caption,
        alt=alt,
        svg=_round(svg).encode(),
        png=png,
        data=data,
        is_picture=is_picture,
        is_wide=is_wide,
        series=tuple(dict.fromkeys(series)),
        is_folded=is_folded,
    )


def render(drawing: Drawing) -> tuple[str, bytes]:
    """Return a drawing as SVG and as PNG.

    Not by `savefig`, which draws everything once more before it draws.
    """
    svg, png = io.StringIO(), io.BytesIO()
    canvas: Any = FigureCanvasSVG(drawing)
    canvas.print_svg(svg, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    # The places that were found for the first hold for the second: they are half of the time.
    drawing.set_layout_engine("none")
    drawing.set_dpi(DPI)
    canvas = FigureCanvasAgg(drawing)
    canvas.print_png(png, metadata={"Software": None})
    return svg.getvalue(), png.getvalue()


def name_series(label: str) -> str:
    """Return what the marks of one series are called in a drawing: a class of the SVG, if given as `gid`."""
    return "series-" + hashlib.sha256(label.encode(errors="replace")).hexdigest()[:8]


def _round(svg: str) -> str:
    """Return a drawing with its coordinates to 1/100 of a point: half the size, and nothing to be seen.

    What belongs to one series shares a class, where matplotlib gives each the same `id`.
    """

    def cut(found: re.Match[str]) -> str:
        return re.sub(r"-?\d+\.\d{3,}", lambda number: f"{round(float(number[0]), 2) + 0.0:g}", found[0])

    svg = re.sub(r'<g id="(series-[0-9a-f]+)"', r'<g class="\1"', svg)
    return re.sub(r'\s(?:d|x|y)="[^"]*"|translate\([^)]*\)', cut, svg)


def set_log(axes: Axes, low: float, high: float) -> None:
    """Make the y axis logarithmic, labelled in plain numbers."""
    axes.set_yscale("log")
    subs = (1.0, 2.0, 5.0) if high / low < 1e3 else (1.0,)
    axes.yaxis.set_major_locator(LogLocator(base=10, subs=subs))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def set_log_x(axes: Axes, num_ticks: int = 4) -> None:
    """Make the x axis logarithmic, labelled at few powers of ten as `1e-5`."""
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(base=10, numticks=num_ticks))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: format_tick(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())


def format_tick(value: float) -> str:
    """Return a setting as short as it can be read: 1e-5, 3.2e-4, 0.01, 0.5."""
    text = f"{value:.1e}".replace(".0e", "e").replace("e-0", "e-").replace("e+0", "e")
    return f"{value:.2g}" if value == 0 or 0.01 <= abs(value) < 100 else text


def name_label(label: str, columns: int = 26) -> str:
    """Return a label as a figure shows it."""
    return shorten(label, columns)
