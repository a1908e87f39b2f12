"""The page of the documentation that says what each workload can tell, written from a noise sweep."""

from __future__ import annotations

from bench.report.concern import find_not_run
from bench.report.escape import escape_markdown, fence_markdown
from bench.report.noise import measure_noise
from bench.report.noise_table import explain_noise, tabulate_noise
from bench.report.sweep import Sweep
from bench.report.tables import write_markdown


def write_workloads_page(sweep: Sweep) -> str:
    """Return a Markdown document: the table, how it was measured, how to read it, and what was not run.

    Args:
        sweep: Best one of do=noise; any other is read the same way, at whatever settings it found.
    """
    manifest, machine = sweep.manifest, sweep.manifest.machine
    commit = f"commit {machine.commit[:12]}" if machine.commit else "an unknown commit"
    dirty = " with uncommitted changes" if machine.is_dirty else ""
    parts = [
        "# What each workload can tell",
        "A workload whose seeds spread further than its optimizers lie apart can tell nothing. This page is "
        "measured, not written by hand; the command that measured it:",
        fence_markdown(manifest.command),
        escape_markdown(
            f"On {manifest.started_at[:10]}, {machine.device} {machine.device_name} with "
            f"{machine.num_threads} thread{'s' * (machine.num_threads != 1)} of {machine.num_cpus} CPUs, "
            f"{machine.platform}, Python {machine.python}, torch {machine.torch}, bench {machine.bench} at "
            f"{commit}{dirty}."
        ),
    ]
    arenas = [arena for arena in sweep.arenas if arena.obstacle is None]
    if arenas:
        points = explain_noise([measure_noise(arena) for arena in arenas])
        parts += [write_markdown(tabulate_noise(arenas)), "## How to read it"]
        parts.append("\n".join(f"- {escape_markdown(point)}" for point in points))
    not_run = [f"- {escape_markdown(each.text)}" for each in find_not_run(sweep)]
    if not_run:
        parts += ["## Not run", "\n".join(not_run)]
    return "\n\n".join(parts) + "\n"
