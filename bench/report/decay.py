"""How much weight decay a run applied in all: below a few per cent, decoupling it can't show."""

from __future__ import annotations

import math
from collections.abc import Iterable

from bench.report.sweep import Arena, Cell, Concern, Sweep
from bench.schedule import lr_factors
from bench.spec import Run

# Below this share, what decay removes over a whole run drowns in what training does.
MIN_DECAY = 0.05
# A cumulative decay at which coupled and decoupled decay part visibly.
TELLING_DECAY = 0.5
# It overfits in seconds, so that weight decay decides who wins.
TELLING_WORKLOAD = "mnist1d_mlp"


def sum_lr(run: Run) -> float | None:
    """Return the sum of the lr over a run's steps; None while its lr is not settled."""
    lr, steps = run.optimizer.lr, run.budget.steps
    # Without the data the length of an epoch is unknown; per step and per epoch sum to nearly the same.
    return None if isinstance(lr, str) else lr * math.fsum(lr_factors(run.schedule, steps, 1))


def cumulative_decay(run: Run) -> float | None:
    """Return the sum over steps of lr x weight_decay: about the share of a weight that decay removes.

    Args:
        run: A resolved run; meaningful where its decay is decoupled.

    Returns:
        The sum, without a unit; None when lr or weight decay is left to the class.

    Source: Loshchilov and Hutter 2019, arXiv:1711.05101, Algorithm 2: each step takes lr x weight_decay off a
    weight, past the gradient.
    """
    total = sum_lr(run)
    if total is None or run.optimizer.weight_decay is None:
        return None
    return total * run.optimizer.weight_decay


def find_faint_decay(sweep: Sweep) -> Iterable[Concern]:
    """Return a warning for sisters, coupled and decoupled, that decay too little to differ: one a family."""
    found: dict[tuple[str, str], dict[str, Concern]] = {}
    for arena in sweep.arenas:
        for family in dict.fromkeys(_family(cell) for cell in arena.cells):
            cells = [cell for cell in arena.cells if _family(cell) == family and not cell.obstacle]
            decoupled = [
                cell for cell in cells if cell.optimizer.weight_decay_kind == "decoupled" and cell.ends
            ]
            coupled = [cell for cell in cells if cell.optimizer.weight_decay_kind in ("l2", "none")]
            if not coupled or not decoupled:
                continue
            # Where weight decay is varied, the cell that decays most is the one to show a difference.
            cell = max(decoupled, key=lambda cell: cumulative_decay(cell.ends[0].run) or 0.0)
            concern = _weigh_decay(arena, cell, coupled[0], sweep.manifest.command)
            if concern is not None:
                found.setdefault((coupled[0].label, cell.label), {})[arena.name] = concern
    for concerns in found.values():
        first = next(iter(concerns.values()))
        # Said once, however many arenas it holds for; of several remedies the first is given.
        names = list(concerns)[1:]
        more = f" So it is on {', '.join(names)}." if names else ""
        brief = first.brief.replace(" here:", f" on {len(names) + 1} arenas:", 1) if names else first.brief
        yield Concern(brief=brief, text=first.text + more, command=first.command)


def set_key(command: str, key: str, value: str) -> str:
    """Return a command with one override set, in place of its own value for that key if it has one."""
    parts = command.split(" ")
    if any(part.startswith(f"{key}=") for part in parts):
        return " ".join(f"{key}={value}" if part.startswith(f"{key}=") else part for part in parts)
    return f"{command} {key}={value}"


def _family(cell: Cell) -> str:
    """Return the class name that an optimizer and its decoupled sister share: Adam for Adam and AdamW."""
    name = cell.optimizer.target.rpartition(".")[2].lower()
    return name[:-1] if name.endswith("w") else name


def _weigh_decay(arena: Arena, cell: Cell, other: Cell, asked: str) -> Concern | None:
    run = cell.ends[0].run
    decay, total_lr = cumulative_decay(run), sum_lr(run)
    if decay is None or not total_lr or decay >= MIN_DECAY:
        return None
    share = f"{100 * decay:.2g} %"
    pair = f"{other.label} and {cell.label}"
    telling = float(f"{TELLING_DECAY / total_lr:.0e}")
    names = dict.fromkeys([other.optimizer.name, cell.optimizer.name])
    # Equal lambdas of the two kinds mean different things: each has to find its own, where decay matters.
    command = f"python -m bench -m workload={TELLING_WORKLOAD} optimizer={','.join(names)} search=lr_wd"
    if arena.study.is_workload_modified:
        # What the sweep's own overrides made it is what is to be decided.
        command = set_key(set_key(asked, "optimizer", ",".join(names)), "search", "lr_wd")
    if other.optimizer.weight_decay:
        cause = f"a difference comes from the L2 term of {other.label}, not from decoupling"
    else:
        cause = "this comparison says little about decoupled decay"
    return Concern(
        brief=f"{pair} can hardly differ here: decay sums to {share} over the run; to tell them apart:",
        text=f"{arena.name}: {pair} can hardly differ here. The decoupled decay of {cell.label} "
        f"(lr x weight_decay, summed over {run.budget.steps} steps) takes {share} off a weight; {cause}. "
        f"A weight decay of {telling:g} would sum to about {TELLING_DECAY:g}; on a task that "
        "overfits, with both searched for, they part.",
        command=command,
    )
