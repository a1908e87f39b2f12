"""Which runs may train as one population: those that differ in their optimizers and in numbers only."""

from __future__ import annotations

from typing import Any

import msgspec

from bench.spec import Model, Recompute, Run

# fp16 scales each run's loss on its own; in bf16_pure an update is rounded once, where a stack rounds twice.
_ALONE = frozenset({"fp16", "bf16_pure"})


# Of one population: with more, what they hold leaves a CPU's cache between two steps, and results come late.
_MOST_CPU, _MOST = 64, 1024


def limit_members(run: Run) -> int:
    """Return how many runs like this one train together at most, memory apart."""
    return _MOST_CPU if run.device == "cpu" else _MOST


def find_shape(run: Run) -> bytes | None:
    """Return what runs share that may train together; None: this one trains by itself.

    Seeds, optimizers, their numbers, the bound of clipping, the schedule and shares of dropout may differ.
    """
    is_alone = (
        run.precision.name in _ALONE
        or run.recompute != Recompute()
        # The update of many is compiled by nobody; nor is the rest of a step that can't be traced.
        or run.compile.name == "step"
        or (run.compile.name != "none" and not can_trace(run))
        or run.processes > 1
        or any(target.startswith("bench.held.") for target in (run.data.target, run.model.target))
    )
    if is_alone:
        return None
    shared = (
        run.data, _blur_model(run.model), run.budget, run.precision, run.ema, run.device, run.threads,
        run.vary, run.compile,
        [run.sources.get(target) for target in (run.data.target, run.model.target)], run.clip_norm is None,
    )  # fmt: skip
    return msgspec.json.encode(shared)


def can_trace(run: Run) -> bool:
    """Return whether a step follows from its tensors alone: other people's parts may do what they like."""
    return all(one.target.startswith("bench.") for one in (run.model, run.data))


def find_kind(run: Run) -> bytes:
    """Return what runs share whose optimizers may be one update: all but numbers.

    A number that is zero, which may switch a part off, goes with zeros only.
    """
    optimizer = run.optimizer
    shared = (
        optimizer.target, run.sources.get(optimizer.target), optimizer.impl,
        _blur(optimizer.weight_decay), _blur(optimizer.args),
        # In order: of two patterns that match, the first rules.
        [(name, _blur(options)) for name, options in optimizer.groups.items()],
    )  # fmt: skip
    return msgspec.json.encode(shared)


def _blur_model(model: Model) -> Any:
    """Return a model without the share that our own layers set to zero, where there are such layers."""
    is_ours = model.target.startswith("bench.model.")
    share = model.args.get("dropout")
    if not is_ours or isinstance(share, bool) or not isinstance(share, int | float):
        return model
    return msgspec.structs.replace(model, args=model.args | {"dropout": share > 0})


def _blur(value: Any) -> Any:
    """Return a value with each number in it replaced by whether it is zero."""
    if isinstance(value, dict):
        return {name: _blur(one) for name, one in sorted(value.items())}
    if isinstance(value, list | tuple):
        return [_blur(one) for one in value]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    return {"is_zero": value == 0}
