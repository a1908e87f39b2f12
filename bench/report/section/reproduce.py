"""How to make these numbers again: the command, the code, the versions and the machine."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from bench.report.chapter import Block, Code, Text
from bench.report.sweep import Sweep
from bench.report.tables import Column, Table
from bench.store import environment

TITLE = "Reproduce"


def show(sweep: Sweep) -> Sequence[Block] | str:
    """Return the command and what it ran on."""
    manifest, machine = sweep.manifest, sweep.manifest.machine
    commit = f"commit {machine.commit or 'unknown'}" + (
        " with uncommitted changes" if machine.is_dirty else ""
    )
    facts = {
        "started": manifest.started_at,
        "ended": manifest.ended_at or "not ended",
        "device": f"{machine.device}: {machine.device_name}",
        "threads": f"{machine.num_threads} of {machine.num_cpus} CPUs",
        "platform": machine.platform,
        "python": machine.python,
        "torch": machine.torch,
        "bench": f"{machine.bench}, {commit}",
    }
    blocks: list[Block] = [
        Code(text=manifest.command),
        Table(
            name="machine",
            title="Machine and versions",
            columns=(
                Column(header="what", cells=tuple(facts)),
                Column(header="value", cells=tuple(facts.values())),
            ),
            data=pd.DataFrame({"what": list(facts), "value": list(facts.values())}),
        ),
        Text(text="The same command answers from stored runs where it can. This page alone is rebuilt by:"),
        Code(text=f"python -m bench.report {sweep.folder.parent.name}/{manifest.name}"),
    ]
    others = {environment(end.result.machine) for end in sweep.ends if end.result} - {environment(machine)}
    if others:
        blocks.append(Text(text=f"Some runs were made elsewhere: {', '.join(sorted(others))}."))
    return blocks
