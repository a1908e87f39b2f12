"""Peak memory over a model's depth: whether recomputing turns a straight line into a square root."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator

from bench.report.chapter import Figure
from bench.report.escape import clean
from bench.report.look import COLOURS, INK, MARKERS, finish, new_drawing, set_log, styled

DEPTH = "model.depth"
MIB = 2**20
# Fewer depths say nothing about a power of them.
_MIN_DEPTHS = 3
_HELD = ("params_bytes", "buffers_bytes", "state_bytes", "batch_bytes", "workspace_bytes")


def draw_depth(data: pd.DataFrame) -> Figure | None:
    """Draw peak memory against depth on logarithmic axes, one panel a batch size; None without enough depths.

    The exponent is the slope of a straight line through the logarithms, by least squares over all depths, of
    what the peak holds beyond weights, buffers, optimizer state and batch: activations, and the gradients
    that are there by then.

    Args:
        data: As `bench.report.prediction.make_frame` makes it; of one model.
    """
    if "peak_bytes" not in data or DEPTH not in data:
        return None
    known = data[data["peak_bytes"].notna() & data[DEPTH].notna()].copy()
    keys = ["recompute", "batch_size"]
    rest = [name for name in _list_settings(known) if name not in (DEPTH, "recompute.segments", *keys)]
    if any(known[name].nunique(dropna=False) > 1 for name in rest):
        # More than one figure could show without mixing what is to be compared.
        return None
    lines = known.groupby(keys, sort=False)
    if known.empty or lines[DEPTH].nunique().min() < _MIN_DEPTHS:
        return None
    known["recompute"] = known["recompute"].where(known["recompute"] != "segments", _name_segments(known))
    fitted = pd.DataFrame([_fit(line) for _, line in known.groupby(keys, sort=False)])
    batches = sorted(known["batch_size"].unique())
    kinds = list(dict.fromkeys(known["recompute"]))
    depths = sorted(known[DEPTH].unique())
    with styled():
        drawing, panels = new_drawing(1.2 + 3.1 * len(batches), 3.6, len(batches), len(batches))
        low, high = known["peak_bytes"].min() / MIB, known["peak_bytes"].max() / MIB
        for axes, batch in zip(panels, batches, strict=True):
            for number, kind in enumerate(kinds):
                line = known[(known["batch_size"] == batch) & (known["recompute"] == kind)].sort_values(DEPTH)
                found = fitted[(fitted["batch_size"] == batch) & (fitted["recompute"] == kind)]
                if line.empty:
                    continue
                axes.plot(
                    line[DEPTH],
                    line["peak_bytes"] / MIB,
                    color=COLOURS[number % len(COLOURS)],
                    marker=MARKERS[number % len(MARKERS)],
                    markersize=5,
                    label=f"{kind}: {found['exponent'].iloc[0]:.2f}",
                )
            axes.set_xscale("log", base=2)
            axes.xaxis.set_major_locator(FixedLocator(depths))
            axes.xaxis.set_minor_locator(NullLocator())
            axes.set_xticks(depths, [f"{depth:g}" for depth in depths])
            set_log(axes, low, high)
            axes.yaxis.set_minor_formatter(NullFormatter())
            axes.set_ylim(low / 1.4, high * 6)
            axes.set_title(f"batch {batch:,}")
            axes.set_xlabel("depth (blocks)", color=INK)
            legend = axes.legend(frameon=False, fontsize=8, loc="upper left", title="exponent of activations")
            legend.get_title().set_fontsize(8)
            legend.set_alignment("left")
        panels[0].set_ylabel("predicted peak of one step (MiB)")
        model = clean(str(known["model"].iloc[0]))
        return finish(
            drawing,
            name="depth",
            caption=_write_caption(known, fitted),
            alt=f"Predicted peak memory of a step of {model} over its depth, with and without recomputing.",
            data=fitted.merge(known[[*keys, DEPTH, "peak_bytes", *_extra(known)]], on=keys),
            is_wide=len(batches) > 1,
        )


def _fit(line: pd.DataFrame) -> dict[str, object]:
    """Return the exponent of a line's activations, and of its whole peak."""
    depth = np.log(line[DEPTH].to_numpy(dtype=float))
    activations = line["peak_bytes"] - line[list(_HELD)].sum(axis=1)
    slope = np.polyfit(depth, np.log(activations.to_numpy(dtype=float)), 1)[0]
    whole = np.polyfit(depth, np.log(line["peak_bytes"].to_numpy(dtype=float)), 1)[0]
    return {
        "recompute": line["recompute"].iloc[0],
        "batch_size": line["batch_size"].iloc[0],
        "exponent": float(slope),
        "peak_exponent": float(whole),
        "num_depths": line[DEPTH].nunique(),
    }


def _name_segments(known: pd.DataFrame) -> pd.Series[str]:
    named = known["recompute.segments"].astype(str).replace("auto", "sqrt(depth)")
    return named + " segments"


def _write_caption(known: pd.DataFrame, fitted: pd.DataFrame) -> str:
    parts = []
    for kind, lines in fitted.groupby("recompute", sort=False):
        low, high = lines["exponent"].min(), lines["exponent"].max()
        text = f"{kind} {low:.2f}" if round(low, 2) == round(high, 2) else f"{kind} {low:.2f} to {high:.2f}"
        if "flops_ratio" in known and known["flops_ratio"].notna().any():
            ratios = known.loc[known["recompute"] == kind, "flops_ratio"]
            text += f" ({ratios.min():.2f} to {ratios.max():.2f} x the operations)"
        parts.append(text)
    return (
        "Predicted peak of one step over depth. Exponents are of what the peak holds beyond weights, state "
        "and batch, by least squares on logarithms over all depths: " + "; ".join(parts) + "."
    )


def _list_settings(known: pd.DataFrame) -> list[str]:
    names = list(known.columns)
    return names[: names.index("data")]


def _extra(known: pd.DataFrame) -> list[str]:
    return [name for name in ("flops_ratio", "phase") if name in known]
