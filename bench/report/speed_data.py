"""What the meter found of a step's time, as data: every number it stored, and what follows from two."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from bench.report.metered import Metered, record_names
from bench.report.pace import compare_steps, find_obstacle, noise_of
from bench.report.sweep import Cell
from bench.result import Cost

# A host that is still asking for most of the step's time is what the step waits for.
_HOST_SHARE = 0.9


def sum_phases(cost: Cost) -> float | None:
    """Return the seconds of all phases of a step together."""
    parts = cost.breakdown
    if parts is None:
        return None
    return parts.data_s + parts.forward_s + parts.backward_s + parts.optimizer_s


def is_host_bound(cost: Cost) -> bool:
    """Return whether a step waits for the host's calls: optimizers then differ by launches, not by bytes."""
    total = sum_phases(cost)
    if cost.breakdown is None or cost.breakdown.host_s is None or total is None:
        return False
    return cost.breakdown.host_s >= _HOST_SHARE * total


def achieved_flops_per_s(cost: Cost) -> float | None:
    """Return the model's floating-point operations a second: without those that recomputing adds."""
    if cost.arithmetic is None or not cost.step_mean_s:
        return None
    return cost.arithmetic.model_flops / cost.step_mean_s


def roof_share(cost: Cost) -> float | None:
    """Return how near the optimizer's step comes to the device's bandwidth, by the bytes it has to move."""
    update = cost.update
    if update is None or not update.step_s or not update.roof_bytes_per_s:
        return None
    return update.ideal_bytes / update.step_s / update.roof_bytes_per_s


def collect_speed(rows: Sequence[Metered]) -> pd.DataFrame:
    """Return one line per cell: seconds, bytes, ratios and shares, each with its unit in its name.

    Times of a precision that the device can't compute in are there too, with is_fast False beside them.
    """
    return pd.DataFrame([_record(row) for row in rows])


def _record(row: Metered) -> dict[str, Any]:
    names = record_names(row)
    if row.cost is None:
        return names
    cost = row.cost
    return {
        **names,
        "is_fast": cost.is_fast,
        "remark": find_obstacle(row.cell),
        "clock": cost.clock,
        "num_threads": cost.machine.num_threads,
        "num_steps": cost.num_steps,
        "period_steps": cost.period,
        "step_mean_s": cost.step_mean_s,
        "step_p25_s": cost.step_p25_s,
        "step_p50_s": cost.step_p50_s,
        "step_p75_s": cost.step_p75_s,
        "step_p99_s": cost.step_p99_s,
        "item": row.arena.study.data.item,
        "items_per_s": cost.items_per_s,
        **_record_reference(row.cell, None if row.is_reference else row.arena.reference, cost),
        **_record_breakdown(cost),
        **_record_arithmetic(cost),
        **_record_device(cost),
        "notes": "; ".join(cost.notes),
    }


def _record_reference(cell: Cell, reference: Cell | None, cost: Cost) -> dict[str, Any]:
    known = cost.reference
    pace = None if reference is None else compare_steps(cell, reference)
    low, high = (pace.interval if pace else None) or (None, None)
    return {
        "reference_step_p50_s": known and known.step_p50_s,
        "reference_ratio": known and known.ratio.median,
        "reference_ratio_ci95_low": known and known.ratio.low,
        "reference_ratio_ci95_high": known and known.ratio.high,
        "aa_ratio": known and known.noise.median,
        "aa_ratio_ci95_low": known and known.noise.low,
        "aa_ratio_ci95_high": known and known.noise.high,
        "aa_noise_share": noise_of(cost),
        "num_rounds": known and known.ratio.num_rounds,
        "arena_ratio": pace and pace.ratio,
        "arena_ratio_ci95_low": low,
        "arena_ratio_ci95_high": high,
        "is_within_noise": pace.is_noise if pace else None,
    }


def _record_breakdown(cost: Cost) -> dict[str, Any]:
    parts, update, total = cost.breakdown, cost.update, sum_phases(cost)
    return {
        "data_s": parts and parts.data_s,
        "forward_s": parts and parts.forward_s,
        "backward_s": parts and parts.backward_s,
        "optimizer_s": parts and parts.optimizer_s,
        "optimizer_share": parts.optimizer_s / total if parts and total else None,
        "host_s": parts and parts.host_s,
        "is_host_bound": is_host_bound(cost),
        "update_s": update and update.step_s,
        "update_floor_s": update and update.floor_s,
        "update_ideal_bytes": update and update.ideal_bytes,
        "update_bound": update and update.bound,
        "roof_bytes_per_s": update and update.roof_bytes_per_s,
        "roof_share": roof_share(cost),
    }


def _record_arithmetic(cost: Cost) -> dict[str, Any]:
    known, achieved = cost.arithmetic, achieved_flops_per_s(cost)
    peak = known.peak_flops_per_s if known else None
    return {
        "model_flops_per_step": known and known.model_flops,
        "hardware_flops_per_step": known and known.hardware_flops,
        "is_flops_lower_bound": known and known.is_lower_bound,
        "model_flops_per_s": achieved,
        "peak_flops_per_s": peak,
        "peak_flops_source": known and known.peak_source,
        "mfu_share": achieved / peak if achieved and peak else None,
        "hfu_share": known.hardware_flops / cost.step_mean_s / peak
        if known and cost.step_mean_s and peak
        else None,
    }


def _record_device(cost: Cost) -> dict[str, Any]:
    compiling, clocks = cost.compiling, cost.clocks
    return {
        "compile_cold_s": compiling and compiling.cold_s,
        "compile_warm_s": compiling and compiling.warm_s,
        "num_recompiles": compiling and compiling.num_recompiles,
        "break_even_steps": compiling and compiling.break_even_steps,
        "sm_clock_min_mhz": min(clocks.sm_mhz, default=None) if clocks else None,
        "sm_clock_max_mhz": max(clocks.sm_mhz, default=None) if clocks else None,
        "power_max_w": max(clocks.power_w, default=None) if clocks else None,
        "temperature_max_c": max(clocks.temperature_c, default=None) if clocks else None,
        "throttle_reasons": "; ".join(clocks.throttle_reasons) if clocks else None,
    }
