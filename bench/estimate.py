"""How long runs will take on this device, told from the runs and steps that the store has timed here."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from bench import index
from bench.errors import StoreError
from bench.record import read_record
from bench.result import Cost, Machine, Result
from bench.spec import Run
from bench.store import Store, environment


@dataclass(frozen=True)
class _Timed:
    """Seconds for each step of one stored run, its evaluations included."""

    optimizer: str
    steps: int
    seconds: float


class Timings:
    """What this kind of machine has timed so far.

    Args:
        store: Where the results are.
        machine: Only what was timed on its kind counts.
    """

    def __init__(self, store: Store, machine: Machine) -> None:
        self._root = store.root
        self._environment = environment(machine)
        # What an index row tells of a run -> the files of the runs that share it. A name doesn't hold every
        # setting, so one file of each group is opened before the group is believed.
        self._groups: dict[tuple[object, ...], list[tuple[Path, _Timed]]] = {}
        self._known: dict[bytes, list[_Timed]] = {}
        self._costs: list[Cost] | None = None
        rows = index.load(store.root)
        rows = rows[(rows["status"] == "finished") & rows["train_s"].notna() & (rows["num_steps"] > 0)]
        for row in rows.to_dict("records"):
            if Path(row["path"]).parts[-2] != self._environment:
                continue
            evaluated = 0.0 if row["eval_s"] is None or row["eval_s"] != row["eval_s"] else row["eval_s"]
            timed = _Timed(
                row["optimizer"], row["num_steps"], (row["train_s"] + evaluated) / row["num_steps"]
            )
            key = (row["data"], row["model"], row["batch_size"], row["precision"], row["num_params"])
            self._groups.setdefault(key, []).append((store.root / row["path"], timed))

    def seconds(self, run: Run) -> float | None:
        """Return about how long a run takes; None where nothing like it was timed on this machine.

        The median of the runs of the same model, data, batch and precision: of the same optimizer and the
        same number of steps where there are any, else of what is nearest; else the measured step alone,
        without evaluations.
        """
        likes = self._find(run)
        same = [each for each in likes if each.optimizer == run.optimizer.name]
        for some in ([each for each in same if each.steps == run.budget.steps], same, likes):
            if some:
                return statistics.median(each.seconds for each in some) * run.budget.steps
        steps = [cost.step_mean_s for cost in self._read_costs() if _is_alike(cost.run, run)]
        known = [seconds for seconds in steps if seconds is not None]
        return statistics.median(known) * run.budget.steps if known else None

    def _find(self, run: Run) -> list[_Timed]:
        key = msgspec.json.encode((run.data, run.model, run.budget.batch_size, run.precision))
        if key not in self._known:
            wanted = (run.data.name, run.model.name, run.budget.batch_size, run.precision.name)
            self._known[key] = [
                timed
                for group, members in self._groups.items()
                if group[:4] == wanted and self._is_group_of(members[0][0], run)
                for _, timed in members
            ]
        return self._known[key]

    def _is_group_of(self, path: Path, run: Run) -> bool:
        try:
            return _is_alike(read_record(path, Result).run, run)
        except StoreError:
            return False

    def _read_costs(self) -> Sequence[Cost]:
        if self._costs is None:
            self._costs = []
            for path in sorted(self._root.glob(f"costs/*/*/{self._environment}/cost.json")):
                # A file that can't be read tells nothing here; the report names it.
                with contextlib.suppress(StoreError):
                    self._costs.append(read_record(path, Cost))
        return self._costs


def _is_alike(one: Run, other: Run) -> bool:
    return (one.data, one.model, one.budget.batch_size, one.precision) == (
        other.data,
        other.model,
        other.budget.batch_size,
        other.precision,
    )
