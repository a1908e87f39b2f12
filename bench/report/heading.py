"""The head of the terminal block: what ran, on what, and what every claim below it rests on."""

from __future__ import annotations

from collections import Counter

from bench.report.effort import describe_effort
from bench.report.escape import measure, shorten
from bench.report.sweep import Arena, Sweep
from bench.report.variant import show_precision

MAX_COLUMNS = 100
_ORDER = (
    "finished",
    "diverged",
    "failed",
    "oom",
    "timeout",
    "killed",
    "unsupported",
    "interrupted",
    "unreadable",
    "missing",
)


def write_header(sweep: Sweep) -> str:
    statuses = Counter(end.status for end in sweep.ends)
    counts = [(statuses[status], status) for status in _ORDER if statuses[status]]
    cached = f" ({sweep.num_cached} cached)" if sweep.num_cached else ""
    total = len(sweep.ends)
    num_not_run = sum(cell.obstacle is not None for arena in sweep.arenas for cell in arena.all_cells)
    rest = f", {num_not_run} cell{'s' * (num_not_run != 1)} not run" if num_not_run else ""
    state = "INTERRUPTED | " * sweep.manifest.is_interrupted + "PRELIMINARY | " * sweep.is_preliminary
    ending = f" | {format_duration(sweep.manifest.wall_s)}" if sweep.manifest.wall_s is not None else ""
    name = shorten(sweep.manifest.name, 40)
    while True:
        shown = " ".join(f"{num} {'ok' if status == 'finished' else status}" for num, status in counts)
        runs = f"{total} run{'s' * (total != 1)}{':' * bool(counts)} {shown}".rstrip() + cached + rest
        line = f"bench {name} | {state}{runs}{ending}"
        if measure(line) <= MAX_COLUMNS or len(counts) < 3:
            return shorten(line, MAX_COLUMNS)
        # The rarer ends share a word before anything is cut.
        counts = [*counts[:-2], (counts[-2][0] + counts[-1][0], "other")]


def write_basis(sweep: Sweep) -> list[str]:
    """Return machine, margin and seeds, and in a line of its own what was searched: two lines at most."""
    machine = sweep.manifest.machine
    facts = [f"{machine.device} {shorten(machine.device_name, 34)}, torch {machine.torch}"]
    if all(arena.obstacle for arena in sweep.arenas):
        return [shorten(facts[0], MAX_COLUMNS)]
    facts.append("/".join(dict.fromkeys(show_precision(arena.cells[0]) for arena in sweep.arenas)))
    facts.append(f"margin {', '.join(dict.fromkeys(show_margin(arena) for arena in sweep.arenas))}")
    varied = f"seeds change {' / '.join(dict.fromkeys(arena.vary for arena in sweep.arenas))}"
    effort = describe_effort(sweep.arenas)
    lines = [[effort, _count_seeds(sweep, "fresh ")]] if effort else [[_count_seeds(sweep, "")]]
    # What a seed changes goes where there is room for it.
    (lines[0] if measure(" | ".join([*lines[0], varied])) <= MAX_COLUMNS else facts).append(varied)
    if measure(" | ".join(facts)) > MAX_COLUMNS:
        facts[0] = f"{machine.device} {shorten(machine.device_name, 16)}, torch {machine.torch}"
    return [shorten(" | ".join(line), MAX_COLUMNS) for line in (facts, *lines)]


def shorten_line(line: str) -> str:
    """Return a line cut at the last column; unlike `shorten` it keeps the spaces that align a table."""
    while measure(line) > MAX_COLUMNS:
        line = line[:-1]
    return line


def _count_seeds(sweep: Sweep, kind: str) -> str:
    # A cell whose search found no setting has no seeds to run.
    cells = [
        cell for arena in sweep.arenas for cell in arena.all_cells if cell.ends and cell.obstacle is None
    ]
    counts = sorted({len(cell.ends) for cell in cells}) or [0]
    span = "-".join(map(str, dict.fromkeys((counts[0], counts[-1]))))
    return f"{span} paired {kind}seed{'s' * (counts != [1])}"


def show_margin(arena: Arena) -> str:
    """Return the difference that does not matter in an arena: +-0.5 %."""
    workload = arena.study.workload
    return f"+-{100 * workload.margin:g} %" if workload.effect == "log_ratio" else f"+-{workload.margin:g}"


def format_duration(seconds: float) -> str:
    """Return a time span as a reader says it: 8.4 s, 1 min 12 s, 1 h 52 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = round(seconds) // 60
    if minutes < 60:
        return f"{minutes} min {round(seconds) % 60} s"
    return f"{minutes // 60} h {minutes % 60} min"
