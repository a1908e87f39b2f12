"""What makes two runs the same run: everything that may change its numbers, hashed, and nothing else."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import msgspec

from bench.kinds import SCHEMA, Record
from bench.spec import Compile, Metering, Recompute, Run

# Raised when a change of ours moves the golden curves: every stored run then trains again.
NUMERICS = 1
# Raised when a change of ours moves what the meter measures: every cell is then metered again.
METER = 4


def run_id(run: Run) -> str:
    """Return the id of a run: a hash of everything that may change its numbers, and of nothing else.

    Args:
        run: The resolved run.

    Returns:
        32 hexadecimal digits.
    """
    return _digest(identify(run))


def cell_id(run: Run) -> str:
    """Return the id that the runs of one cell share: the run's identity without its seed."""
    identity = identify(run)
    del identity["seed"]
    return _digest(identity)


def cost_id(metering: Metering) -> str:
    """Return the id of a cost measurement: the cell and how it is metered."""
    return _digest(
        {"cell": cell_id(metering.run), "meter": msgspec.to_builtins(metering.meter), "version": METER}
    )


def find_numerics(run: Run, identity: str) -> int | None:
    """Return the NUMERICS under which a run had an id; None: it had it under none that there has been."""
    known = identify(run)
    for numerics in range(NUMERICS, 0, -1):
        if _digest({**known, "numerics": numerics}) == identity:
            return numerics
    return None


def identify(run: Run) -> dict[str, Any]:
    """Return what a run's id is a hash of: nested names and values, as they are compared."""
    data, model, optimizer = run.data, run.model, run.optimizer
    return {
        "schema": SCHEMA,
        "numerics": NUMERICS,
        "data": {"target": data.target, "sha256": data.sha256, "args": _without_root(data.args)},
        "model": {"target": model.target, "args": model.args},
        "optimizer": {
            "target": optimizer.target,
            "lr": optimizer.lr,
            "weight_decay": optimizer.weight_decay,
            "impl": optimizer.impl,
            "args": optimizer.args,
            # In order: of two patterns that match, the first rules.
            **({"groups": list(optimizer.groups.items())} if optimizer.groups else {}),
        },
        "schedule": msgspec.to_builtins(run.schedule),
        "precision": run.precision.name,
        **({"recompute": recompute} if (recompute := _changed(run.recompute, Recompute())) else {}),
        **({"compile": compiled} if (compiled := _changed(run.compile, Compile())) else {}),
        "budget": {
            "steps": run.budget.steps,
            "batch_size": run.budget.batch_size,
            "accumulate": run.budget.accumulate,
            "evaluations": run.budget.evaluations,
        },
        "clip_norm": run.clip_norm,
        "ema": run.ema,
        "device": run.device,
        "threads": run.threads,
        **({"processes": run.processes} if run.processes > 1 else {}),
        "seed": run.seed,
        "vary": sorted(run.vary),
        "sources": run.sources,
    }


def _changed(record: Record, plain: Record) -> dict[str, Any]:
    """Return the fields that differ in value; msgspec leaves out only those that are the very same object."""
    fields = {name: getattr(record, name) for name in record.__struct_fields__}
    return {name: value for name, value in fields.items() if value != getattr(plain, name)}


def _without_root(args: dict[str, Any]) -> dict[str, Any]:
    # Where the files lie says nothing; what they hold is in the hash.
    return {key: value for key, value in args.items() if key != "root"}


def _digest(value: object) -> str:
    text = json.dumps(_canonical(value), sort_keys=True, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _canonical(value: Any) -> Any:
    # 1 and 1.0, 0.0 and -0.0 are the same setting, however they were typed.
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, int | float):
        return float(value) + 0.0
    if isinstance(value, dict):
        return {str(key): _canonical(item) for key, item in value.items()}
    return [_canonical(item) for item in value]
