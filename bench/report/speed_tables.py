"""How long a step takes: by itself, against the step that all share, and against its arena's reference."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bench.report.metered import MAX_ROWS, Metered, count_rest, list_names, show_span
from bench.report.pace import Pace, compare_steps, compare_to_reference, find_obstacle, format_pace, noise_of
from bench.report.speed_data import collect_speed, is_host_bound
from bench.report.tables import ABSENT, Column, Table, drop_empty, format_fixed, scale_count
from bench.result import Cost

CLOCKS = {
    "wall": "wall time",
    "thread_cpu": "CPU time of the computing thread, which other processes can't lengthen",
    "cuda_event": "CUDA events, on the device's own clock",
}


def tabulate_timing(rows: Sequence[Metered]) -> Table:
    """Return the step time of every row, against the reference step and against its arena's reference."""
    shown = rows[:MAX_ROWS]
    costs = [row.timed for row in shown]
    references = dict.fromkeys(row.arena.reference.label for row in shown)
    against = next(iter(references)) if len(references) == 1 else "the reference"
    items = dict.fromkeys(row.arena.study.data.item for row in shown)
    item = next(iter(items)) if len(items) == 1 else "item"
    unit, rates = scale_count([cost.items_per_s if cost else None for cost in costs], f"{item}s/s")
    noises = [None if cost is None or (noise := noise_of(cost)) is None else 100 * noise for cost in costs]
    columns = [
        *list_names(shown),
        _fixed("step, mean (ms) ↓", costs, lambda cost: _ms(cost.step_mean_s)),
        _general("p50 [p25, p75] (ms)", _format_quartiles(costs)),
        _fixed("p99 (ms)", costs, lambda cost: _ms(cost.step_p99_s)),
        _general("x reference step [95 %] ↓", [_format(compare_to_reference(row.cell)) for row in shown]),
        _general("A/A noise (%)", noises),
        _general(f"x {against} [95 %] ↓", [_format(_compare(row)) for row in shown]),
        Column(header=f"{unit} ↑", cells=tuple(rates), style="fixed"),
        Column(header="remarks", cells=tuple(_remark(row) for row in shown)),
    ]
    return Table(
        name="timing",
        title="One step: time and throughput",
        columns=drop_empty(columns),
        data=collect_speed(rows),
        marked=tuple(index for index, row in enumerate(shown) if row.is_reference),
        note=_explain([cost for cost in costs if cost], against) + count_rest(rows, "timing"),
    )


def _compare(row: Metered) -> Pace | None:
    return None if row.is_reference else compare_steps(row.cell, row.arena.reference)


def _format(pace: Pace | None) -> str | None:
    return None if pace is None else format_pace(pace)


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else 1e3 * seconds


def _fixed(header: str, costs: Sequence[Cost | None], read: Callable[[Cost], float | None]) -> Column:
    return Column(header=header, cells=tuple(read(cost) if cost else None for cost in costs), style="fixed")


def _general(header: str, cells: Sequence[str | float | None]) -> Column:
    return Column(header=header, cells=tuple(cells), style="general")


def _format_quartiles(costs: Sequence[Cost | None]) -> list[str | None]:
    """Return `1.00 [0.98, 1.07]` of each, all with the same decimals."""
    triples = [
        [_ms(value) for value in (cost.step_p50_s, cost.step_p25_s, cost.step_p75_s)] if cost else [None] * 3
        for cost in costs
    ]
    flat = iter(format_fixed([value for triple in triples for value in triple]))
    texts: list[str | None] = []
    for _ in triples:
        middle, low, high = next(flat), next(flat), next(flat)
        whole = middle if ABSENT in (low, high) else f"{middle} [{low}, {high}]"
        texts.append(None if middle == ABSENT else whole)
    return texts


def _remark(row: Metered) -> str | None:
    cost = row.cost
    parts = [row.cell.metering_trouble, find_obstacle(row.cell)]
    if cost is not None:
        parts.append("host-bound" if is_host_bound(cost) else None)
        parts.append(f"a period is {cost.period} steps" if cost.period and cost.period > 1 else None)
        reasons = cost.clocks.throttle_reasons if cost.clocks else ()
        parts.append(f"throttled: {', '.join(reasons)}" if reasons else None)
    return "; ".join(part for part in parts if part) or None


def _explain(costs: Sequence[Cost], against: str) -> str:
    clocks = dict.fromkeys(CLOCKS[cost.clock] for cost in costs if cost.clock)
    steps = show_span(cost.num_steps for cost in costs)
    rounds = {cost.reference.ratio.num_rounds for cost in costs if cost.reference}
    parts = []
    if costs:
        parts.append(
            f"Mean over {steps} steps in whole update periods, measured apart from "
            f"the training runs; a quarter of the steps is shorter than p25, and longer than p75. "
            f"Clock: {'; '.join(clocks)}."
        )
    if rounds:
        parts.append(
            "Reference step: SGD in fp32, nothing recomputed or compiled, on the same model, data and "
            f"batch, taken in turns with the step itself; median ratio over {show_span(rounds)} "
            "rounds with its 95 % interval. A/A noise: how far the reference step lay from itself, by the "
            f"further end of the 95 % interval. x {against}: the two ratios to the reference step divided, "
            "their intervals combined on the log scale (root of the sum of squares). Within noise: the "
            "interval holds 1, or 1 is no further than the A/A noise."
        )
    parts.append("A cheaper step is not a faster optimizer: that needs the loss it reaches beside it.")
    return " ".join(parts)
