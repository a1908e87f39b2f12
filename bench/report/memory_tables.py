"""What a step holds in memory: piece by piece, its peak as measured and as predicted, and where that is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from bench.report.metered import MAX_ROWS, Metered, count_rest, list_names, record_names
from bench.report.tables import Column, Table, drop_empty
from bench.result import Cost

MIB, GIB = 2**20, 2**30
PEAKS = {
    "cuda_allocator": "CUDA's allocator, over two steady steps",
    "cpu_allocator_events": "every allocation that torch made on the CPU in one steady step",
}


def has_memory(row: Metered) -> bool:
    """Return whether anything is known of a row's memory."""
    return row.cost is not None and (row.cost.peak_bytes is not None or row.cost.predicted is not None)


def compare_prediction(cost: Cost) -> float | None:
    """Return the predicted peak over the measured one, both without workspace; None without either."""
    known = cost.predicted
    if known is None or cost.peak_bytes is None:
        return None
    own = cost.peak_bytes - (cost.workspace_bytes or 0)
    return (known.peak_bytes - known.workspace_bytes) / own if own > 0 else None


def state_per_param(cost: Cost) -> float | None:
    """Return the bytes of optimizer state per parameter: in fp32 0 for SGD, 4 with momentum, 8 for Adam."""
    return cost.state_bytes / cost.num_params if cost.num_params and cost.state_bytes is not None else None


def choose_unit(sizes: Sequence[float | None]) -> tuple[str, int]:
    """Return the unit that sizes in bytes read best in, and how many bytes it has."""
    return ("GiB", GIB) if max((size for size in sizes if size), default=0) >= 4 * GIB else ("MiB", MIB)


def tabulate_memory(rows: Sequence[Metered]) -> Table:
    """Return the memory of rows of which something is known."""
    shown = rows[:MAX_ROWS]
    costs = [row.cost for row in shown if row.cost is not None]
    predicted = [cost.predicted for cost in costs]
    unit, size = choose_unit([cost.peak_bytes or _read(cost, "peak_bytes") for cost in costs])

    def column(header: str, read: Callable[[Cost], float | None], factor: float = 1.0) -> Column:
        values = [read(cost) for cost in costs]
        cells = tuple(None if value is None else value * factor for value in values)
        return Column(header=header, cells=cells, style="fixed")

    def sized(header: str, read: Callable[[Cost], float | None]) -> Column:
        return column(f"{header} ({unit})", read, 1 / size)

    ratios = [
        None if (ratio := compare_prediction(cost)) is None else f"{_bound(cost)}{ratio:.3f}"
        for cost in costs
    ]
    columns = [
        *list_names(shown),
        sized("params", lambda cost: cost.params_bytes),
        sized("grads", lambda cost: cost.grads_bytes),
        sized("state", lambda cost: cost.state_bytes),
        sized("saved activations", lambda cost: _read(cost, "saved_bytes")),
        sized("peak, measured", lambda cost: cost.peak_bytes),
        sized("peak, predicted", lambda cost: _read(cost, "peak_bytes")),
        Column(header="predicted / measured", cells=tuple(ratios), style="general"),
        Column(header="phase of the peak", cells=tuple(each.phase if each else None for each in predicted)),
        sized("workspace", lambda cost: cost.workspace_bytes),
        sized("reserved", lambda cost: cost.reserved_bytes),
        column("state (B/param) ↓", state_per_param),
    ]
    peaks = dict.fromkeys(PEAKS[cost.peak_source] for cost in costs if cost.peak_source)
    note = (
        "One steady step. Parameters, gradients and state are summed from their tensors; state is without "
        f"counters such as Adam's step. Measured: {'; '.join(peaks) or 'nothing'}. Predicted, and with it "
        "the saved activations and the phase: counted under fake tensors, without a step being taken."
    )
    if any(cost.workspace_bytes for cost in costs):
        note += (
            " Workspace is what cuBLAS holds for itself, a part of both peaks that their ratio leaves "
            "out; reserved is what the allocator holds, which depends on what ran before."
        )
    if any(_bound(cost) for cost in costs):
        note += " ≥: an operation hides memory of its own, so the prediction is a lower bound."
    return Table(
        name="memory",
        title="One step: memory",
        columns=drop_empty(columns),
        data=collect_memory(rows),
        marked=tuple(index for index, row in enumerate(shown) if row.is_reference),
        note=note + count_rest(rows, "memory"),
    )


def collect_memory(rows: Sequence[Metered]) -> pd.DataFrame:
    """Return one line per cell, all sizes in bytes."""
    return pd.DataFrame([_record(row) for row in rows])


def _record(row: Metered) -> dict[str, Any]:
    names, cost = record_names(row), row.cost
    if cost is None:
        return names
    known = cost.predicted
    phases = known.phases if known else {}
    return {
        **names,
        "num_params": cost.num_params,
        "params_bytes": cost.params_bytes,
        "grads_bytes": cost.grads_bytes,
        "state_bytes": cost.state_bytes,
        "state_bytes_per_param": state_per_param(cost),
        "peak_bytes": cost.peak_bytes,
        "peak_source": cost.peak_source,
        "workspace_bytes": cost.workspace_bytes,
        "reserved_bytes": cost.reserved_bytes,
        "predicted_peak_bytes": known and known.peak_bytes,
        "predicted_over_measured": compare_prediction(cost),
        "is_predicted_lower_bound": known and known.is_lower_bound,
        "predicted_phase": known and known.phase,
        **{
            f"predicted_{phase}_bytes": phases.get(phase)
            for phase in ("data", "forward", "backward", "optimizer")
        },
        "predicted_buffers_bytes": known and known.buffers_bytes,
        "predicted_saved_bytes": known and known.saved_bytes,
        "predicted_batch_bytes": known and known.batch_bytes,
        "predicted_workspace_bytes": known and known.workspace_bytes,
        "notes": "; ".join(cost.notes),
    }


def _bound(cost: Cost) -> str:
    return "≥ " if cost.predicted and cost.predicted.is_lower_bound else ""


def _read(cost: Cost, key: str) -> int | None:
    """Return a field of what was predicted."""
    return None if cost.predicted is None else int(getattr(cost.predicted, key))
