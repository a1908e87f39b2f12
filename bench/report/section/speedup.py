"""Speed-up as it can be claimed: fewer steps for the same final loss, each length with its own schedule."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from bench.report.chapter import Block, Heading, Note, Notes, Text
from bench.report.escape import slug
from bench.report.look import assign_looks
from bench.report.plot.speedup import draw_speedup
from bench.report.speedup import Ladder, Share, find_ladders, measure_shares
from bench.report.sweep import Sweep
from bench.report.tables import Column, Table

TITLE = "Speed-up"


def show(sweep: Sweep) -> Sequence[Block] | str:
    """Return per task that ran at several horizons the shares, a figure, and what they mean."""
    ladders = find_ladders(sweep.arenas)
    if not ladders:
        return "Speed-up needs whole trainings of several lengths: add horizons=[0.5,1,2]."
    looks = assign_looks(sweep)
    blocks: list[Block] = []
    for ladder in ladders:
        shares = measure_shares(ladder)
        reference = ladder.base.reference.label
        blocks.append(Heading(text=ladder.base.name))
        if not shares:
            blocks.append(
                Text(
                    text=f"Nothing to say: {reference} or every other optimizer is without a complete result."
                )
            )
            continue
        blocks.append(Notes(items=tuple(Note(text=say_share(ladder, share)) for share in shares)))
        blocks.append(_tabulate(ladder, shares))
        figure = draw_speedup(ladder, looks)
        if figure is not None:
            blocks.append(figure)
    return blocks


def say_share(ladder: Ladder, share: Share) -> str:
    """Return one sentence: how many of the reference's steps an optimizer needs for the same final loss."""
    base = ladder.base
    reference, steps = base.reference.label, share.cell.study.budget.steps
    start = f"On {base.name}, {share.cell.label} trained for {steps} steps needs"
    basis = f"n = {share.n} paired seed{'s' * (share.n != 1)}; seeds vary {base.vary}"
    shown = format_steps(share)
    if shown is None:
        return f"On {base.name}, {share.cell.label}: no seed can be placed on the line of {reference}."
    time = f"; {100 * share.time:.3g} % of the time, by metered steps" if share.time is not None else ""
    return f"{start} {shown} of the steps that {reference} needs for the same final loss ({basis}){time}."


def format_steps(share: Share) -> str | None:
    """Return a share of steps as `67 % [60, 75]`, or as the bound that the horizons can show."""
    if share.beyond is not None and share.bound is not None:
        return f"{share.beyond} than {100 * share.bound:.3g} %"
    if share.steps is None:
        return None
    text = f"{100 * share.steps:.3g} %"
    if share.interval is not None:
        return f"{text} [{100 * share.interval[0]:.3g}, {100 * share.interval[1]:.3g}]"
    return text


def _tabulate(ladder: Ladder, shares: Sequence[Share]) -> Table:
    base = ladder.base
    reference = base.reference.label
    horizons = ", ".join(f"{horizon:g}x" for horizon in ladder.arenas)

    def percent(value: float | None) -> str | None:
        return None if value is None else f"{100 * value:.3g} %"

    def ratio(value: float | None) -> str | None:
        return None if value is None else f"{1 / value:.3g}x"

    return Table(
        name=f"speedup_{slug(base.name)}",
        title=f"{base.name}: steps for the same final loss",
        columns=(
            Column(header="optimizer", cells=tuple(share.cell.label for share in shares)),
            Column(
                header=f"steps / {reference} ↓ [95 % CI]",
                cells=tuple(format_steps(share) for share in shares),
            ),
            Column(header="speed-up in steps ↑", cells=tuple(ratio(share.steps) for share in shares)),
            Column(header=f"time / {reference} ↓", cells=tuple(percent(share.time) for share in shares)),
            Column(header="speed-up in time ↑", cells=tuple(ratio(share.time) for share in shares)),
            Column(header="pairs", cells=tuple(str(share.n) for share in shares)),
            Column(header="seeds outside", cells=tuple(str(share.num_outside) for share in shares)),
        ),
        data=pd.DataFrame(
            [
                {
                    "arena": base.name,
                    "optimizer": share.cell.label,
                    "reference": reference,
                    "steps_share": share.steps,
                    "steps_share_ci95_low": share.interval[0] if share.interval else None,
                    "steps_share_ci95_high": share.interval[1] if share.interval else None,
                    "beyond": share.beyond,
                    "bound": share.bound,
                    "time_share": share.time,
                    "num_pairs": share.n,
                    "num_outside": share.num_outside,
                }
                for share in shares
            ]
        ),
        note=f"Steps of an optimizer at 1x over the steps after which {reference}, with a whole schedule of "
        "its own, ends at the same loss: interpolated in log steps and log loss between its horizons "
        f"({horizons}) seed by seed, never extrapolated; geometric mean and t interval over seeds, the "
        "median where some seed lies outside. Time: times the ratio of metered step times.",
    )
