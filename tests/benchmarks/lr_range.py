"""Counts how often the range of an lr range test holds the lr that a search without such a test finds.

python -m tests.benchmarks.lr_range WORKLOAD,... OPTIMIZER,... [override ...]
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

import msgspec

from bench.effort import LrRange, RangeTest
from bench.lr_range import read_tests
from bench.report.tables import ABSENT
from bench.result import Machine, Result, SearchRecord, StudyRecord
from bench.search.ranging import ABOVE, plan_tests
from bench.search.space import LR, make_space
from bench.spec import Run, Study
from bench.together import find_shape
from bench.train import train, train_together
from bench.trainee import Trainee
from tests.commands import read_sweep

ROOT = Path(__file__).parents[2]
PLACE = "place.results="


class Pair(NamedTuple):
    """A workload and an optimizer: what its search chose, and what its range tests gave."""

    workload: str
    optimizer: str
    declared: LrRange
    search: SearchRecord
    test: RangeTest

    @property
    def tuned(self) -> float | None:
        """The lr that the search chose; None: none of its runs finished."""
        found = [trial for trial in self.search.trials if trial.number == self.search.best]
        return float(found[0].params[LR]) if found else None

    @property
    def unknown(self) -> str | None:
        """Why the tuned lr is not known, so that the pair does not count; None: it is."""
        if self.tuned is None:
            return "no lr trained"
        tried = [float(trial.params[LR]) for trial in self.search.trials]
        # The side is that of the first pass, the choice that of the confirmations: either may lie there.
        if self.search.edge is None and min(tried) < self.tuned < max(tried):
            return None
        return f"best at the edge, after {self.search.num_widened} widenings"

    @property
    def is_inside(self) -> bool:
        """Whether the range holds the tuned lr; a test that suggests nothing holds none."""
        tuned, low, high = self.tuned, self.test.low, self.test.high
        return tuned is not None and low is not None and high is not None and low <= tuned <= high

    @property
    def is_declared(self) -> bool:
        """Whether the range of the optimizer's YAML, which knows no test, holds the tuned lr."""
        return self.tuned is not None and self.declared.low <= self.tuned <= self.declared.high

    @property
    def width(self) -> float | None:
        """Decades from the range's low end to its high one: a wider range holds more."""
        if self.test.low is None or self.test.high is None:
            return None
        return math.log10(self.test.high / self.test.low)

    @property
    def decades(self) -> float | None:
        """Suggested over tuned lr, as a logarithm."""
        if self.tuned is None or self.test.suggested is None:
            return None
        return math.log10(self.test.suggested / self.tuned)

    @property
    def is_in_grid(self) -> bool:
        """Whether the first grid of `search=lr_range`, which lies around what is suggested, reaches it."""
        return self.decades is not None and abs(self.decades + math.log10(ABOVE)) <= 1.5 + 1e-9

    def explain(self) -> str:
        """Return how far off the range is, and how much worse than the tuned lr the best one inside it is."""
        tuned, low, high = self.tuned, self.test.low, self.test.high
        if tuned is None or low is None or high is None:
            return "the loss never fell in its test"
        side, end = ("below", low) if tuned < low else ("above", high)
        far = f"{abs(math.log10(tuned / end)):.2f} decades {side} the range"
        # On the one seed that all settings have.
        losses = {float(trial.params[LR]): trial.losses[0] for trial in self.search.trials}
        best = losses[tuned]
        inside = [(loss, lr) for lr, loss in losses.items() if loss is not None and low <= lr <= high]
        if not inside or not best:
            return f"{far}, in which nothing finished"
        loss, lr = min(inside)
        return f"{far}, in which {lr:.3g} is best: a loss {100 * (loss / best - 1):+.1f} %"


def find_pairs(workload: str, optimizers: str, overrides: Sequence[str], results: Path) -> list[Pair]:
    """Search the lr of each optimizer as `search=lr` does, then train the range tests of `search=lr_range`.

    Args:
        workload: Its name.
        optimizers: Names, with commas between them.
        overrides: Of the command, beside those that every search has.
        results: Folder for what is trained; what is there already is not trained again.
    """
    asked = (
        f"workload={workload}", f"optimizer={optimizers}", "search=lr", "meter=none", "seeds=1",
        "place.workers=1", *overrides, f"{PLACE}{results}",
    )  # fmt: skip
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "bench", "-q", "-m", *asked],
        cwd=results, env=env, capture_output=True, text=True,
    )  # fmt: skip
    # 3: some runs failed, which is for their pairs to say.
    if done.returncode not in (0, 3):
        raise RuntimeError(f"{workload}: ended with {done.returncode}\n{done.stderr[-2000:]}")
    records = read_sweep(results).studies
    tests = [_plan(record) for record in records]
    ends = iter(_train([run for some in tests for run in some], records[0].machine))
    pairs = []
    for record, runs in zip(records, tests, strict=True):
        assert record.search is not None and record.search.is_final
        found = read_tests([next(ends) for _ in runs])
        optimizer = record.study.optimizer
        pairs.append(Pair(_name(record.study), optimizer.name, optimizer.search.lr, record.search, found))
    return pairs


def write_rows(pairs: Sequence[Pair]) -> list[str]:
    """Return the lines of a Markdown table, a pair each, without its head."""
    rows = []
    for one in pairs:
        test, answer = one.test, one.unknown or ("yes" if one.is_inside else "**no**")
        numbers = [f"{n:.3g}" if n else ABSENT for n in (one.tuned, test.suggested, test.low, test.high)]
        rows.append(_join(one.workload, one.optimizer, *numbers, answer, _show(one.decades)))
    return rows


def write_counts(pairs: Sequence[Pair]) -> list[str]:
    """Return a Markdown table of how many ranges hold the tuned lr, by optimizer and in all."""
    head = (
        "inside",
        "in the first grid",
        "in the declared range",
        "median width",
        "median miss",
        "largest miss",
    )
    rows = [_join("optimizer", *head), _rule(1 + len(head))]
    for name in [*dict.fromkeys(one.optimizer for one in pairs), "all"]:
        known = [one for one in pairs if name in (one.optimizer, "all") and one.unknown is None]
        held = ([one.is_inside, one.is_in_grid, one.is_declared] for one in known)
        counts = [f"{sum(column)} of {len(known)}" for column in zip(*held, strict=True)] or ["0 of 0"] * 3
        widths = [one.width for one in known if one.width is not None]
        missed = [abs(one.decades) for one in known if one.decades is not None]
        shown = [f"{value:.2f}" for value in (median(widths), median(missed), max(missed))] if missed else []
        rows.append(_join(name, *counts, *(shown or [ABSENT] * 3)))
    return rows


def write_matrix(pairs: Sequence[Pair]) -> list[str]:
    """Return a Markdown table of decades off: bold outside the range, in brackets where not counted."""
    names = list(dict.fromkeys(one.optimizer for one in pairs))
    rows = [_join("workload", *names), _rule(1 + len(names))]
    for workload in dict.fromkeys(one.workload for one in pairs):
        cells = dict.fromkeys(names, ABSENT)
        for one in (one for one in pairs if one.workload == workload):
            shown = _show(one.decades)
            is_missed = one.unknown is None and not one.is_inside
            cells[one.optimizer] = f"({shown})" if one.unknown else f"**{shown}**" if is_missed else shown
        rows.append(_join(workload, *cells.values()))
    return rows


def main(workloads: str, optimizers: str, *overrides: str) -> None:
    """Print a row for each pair as its workload is done, then the counts, the misses and the matrix."""
    asked = [word for word in overrides if not word.startswith(PLACE)]
    named = [Path(word.removeprefix(PLACE)) for word in overrides if word.startswith(PLACE)]
    pairs: list[Pair] = []
    print(_join("workload", "optimizer", "tuned", "suggested", "low", "high", "inside", "decades off"))
    print(_rule(8), flush=True)
    with tempfile.TemporaryDirectory(prefix="lr_range") as place:
        results = (named or [Path(place)])[0].resolve()
        results.mkdir(parents=True, exist_ok=True)
        for workload in workloads.split(","):
            some = find_pairs(workload, optimizers, asked, results)
            print(*write_rows(some), sep="\n", flush=True)
            pairs += some
    print("", *write_counts(pairs), "", *write_matrix(pairs), "", sep="\n")
    for one in pairs:
        if one.unknown is not None:
            print(f"not counted: {one.workload}, {one.optimizer}: {one.unknown}")
        elif not one.is_inside:
            print(f"missed: {one.workload}, {one.optimizer}: {one.explain()}")


def _plan(record: StudyRecord) -> tuple[Run, ...]:
    search = msgspec.structs.replace(record.study.search, name="lr_range")
    study = msgspec.structs.replace(record.study, search=search)
    return plan_tests(study, record.machine, make_space(study))


def _train(runs: Sequence[Run], machine: Machine) -> list[Result]:
    if find_shape(runs[0]) is None:
        return [train(run, machine)[0] for run in runs]
    found = {number: end for number, end, _ in train_together([Trainee(run) for run in runs], machine)}
    return [found[number] for number in range(len(runs))]


def _name(study: Study) -> str:
    return study.workload.name + "*" * study.is_workload_modified


def _join(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _rule(num: int) -> str:
    return "|" + "---|" * num


def _show(decades: float | None) -> str:
    return ABSENT if decades is None else f"{decades:+.2f}"


if __name__ == "__main__":
    main(*sys.argv[1:])
