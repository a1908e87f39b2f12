"""Where a step's time goes, how near that comes to what the device can, and what compiling costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bench.report.metered import MAX_ROWS, Metered, count_rest, list_names
from bench.report.speed_data import (
    achieved_flops_per_s,
    collect_speed,
    roof_share,
    sum_phases,
)
from bench.report.tables import Column, Table, drop_empty
from bench.result import Cost

_PHASES = ("data", "forward", "backward", "optimizer")


def tabulate_breakdown(rows: Sequence[Metered]) -> Table | None:
    """Return where a step's time goes and how near it comes to what the device can; None where unknown."""
    kept = [row for row in rows if (cost := row.timed) and (cost.breakdown or cost.update or cost.arithmetic)]
    if not kept:
        return None
    shown = kept[:MAX_ROWS]
    costs = [cost for row in shown if (cost := row.timed)]
    flops = [achieved_flops_per_s(cost) for cost in costs]
    is_large = max((each for each in flops if each), default=0.0) >= 1e11
    unit, factor = ("TFLOP/s", 1e12) if is_large else ("GFLOP/s", 1e9)
    columns = [
        *list_names(shown),
        *(
            Column(
                header=f"{name} (ms)",
                cells=tuple(_ms(getattr(cost.breakdown, f"{name}_s", None)) for cost in costs),
                style="fixed",
            )
            for name in _PHASES
        ),
        _general("optimizer's share (%)", [_share(cost) for cost in costs]),
        _fixed("host (ms)", costs, lambda cost: _ms(cost.breakdown.host_s) if cost.breakdown else None),
        _fixed("update alone (ms)", costs, lambda cost: _ms(cost.update.step_s) if cost.update else None),
        _general("of the bandwidth roof", [_format_roof(cost) for cost in costs]),
        _general(
            f"model {unit}",
            [
                None if each is None else _bound(cost) + f"{each / factor:.3g}"
                for cost, each in zip(costs, flops, strict=True)
            ],
        ),
        _general("MFU (%)", [_format_mfu(cost) for cost in costs]),
    ]
    return Table(
        name="breakdown",
        title="Where a step's time goes",
        columns=drop_empty(columns),
        data=collect_speed(kept),
        marked=tuple(index for index, row in enumerate(shown) if row.is_reference),
        note="Phases are medians from blocks of their own, in which the "
        "step is cut at their ends, so they need not add up to the step. "
        "Update alone: the optimizer's step by itself, against the bytes "
        "it has to move (weights, gradients and state read, weights and "
        "state written, once each) at the bandwidth measured on this "
        "device; launch-bound: its calls are at least half of the time, so "
        "that a share of the roof would mean nothing. FLOPs are the "
        "model's, counted once; what recomputing adds is in the CSV. MFU: "
        "against the device's peak in this precision, by its datasheet or "
        "as measured here. ≥: some operations are invisible to the counter." + count_rest(kept, "breakdown"),
    )


def tabulate_compiling(rows: Sequence[Metered]) -> Table | None:
    """Return what compiling costs and when it is earned back; None where nothing was compiled."""
    kept = [row for row in rows if (cost := row.timed) and cost.compiling]
    if not kept:
        return None
    shown = kept[:MAX_ROWS]
    found = [row.cost.compiling for row in shown if row.cost and row.cost.compiling]
    earned = [each.break_even_steps for each in found]
    return Table(
        name="compiling",
        title="What compiling costs",
        columns=(
            *list_names(shown),
            Column(header="cold (s) ↓", cells=tuple(each.cold_s for each in found), style="general"),
            Column(header="warm cache (s) ↓", cells=tuple(each.warm_s for each in found), style="general"),
            Column(
                header="recompiles", cells=tuple(str(each.num_recompiles) for each in found), style="general"
            ),
            Column(
                header="break-even (steps) ↓",
                cells=tuple(
                    "never" if steps is None else f"{steps:,.0f}".replace(",", " ") for steps in earned
                ),
                style="general",
            ),
        ),
        data=collect_speed(kept),
        note="Until the first step is done, with an empty compiler's cache and with one filled by an earlier "
        "process. Break-even: steps after which the compiled step has earned its cold compiling against the "
        "step that is not compiled." + count_rest(kept, "compiling"),
    )


def _fixed(header: str, costs: Sequence[Cost], read: Callable[[Cost], float | None]) -> Column:
    return Column(header=header, cells=tuple(map(read, costs)), style="fixed")


def _general(header: str, cells: Sequence[str | float | None]) -> Column:
    return Column(header=header, cells=tuple(cells), style="general")


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else 1e3 * seconds


def _share(cost: Cost) -> float | None:
    total = sum_phases(cost)
    return 100 * cost.breakdown.optimizer_s / total if cost.breakdown and total else None


def _format_roof(cost: Cost) -> str | None:
    if cost.update is None:
        return None
    share = roof_share(cost)
    if cost.update.bound != "bandwidth" or share is None:
        return f"{cost.update.bound}-bound"
    return f"{100 * share:.0f} %"


def _format_mfu(cost: Cost) -> str | None:
    flops = achieved_flops_per_s(cost)
    if flops is None or cost.arithmetic is None or not cost.arithmetic.peak_flops_per_s:
        return None
    source = {"measured": "measured roof", "datasheet": "datasheet"}.get(
        cost.arithmetic.peak_source or "", ""
    )
    share = f"{100 * flops / cost.arithmetic.peak_flops_per_s:.3g}"
    return _bound(cost) + share + (f" ({source})" if source else "")


def _bound(cost: Cost) -> str:
    return "≥ " if cost.arithmetic and cost.arithmetic.is_lower_bound else ""
