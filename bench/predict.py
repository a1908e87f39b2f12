"""What `do=predict` finds: how much memory a step of each cell of a command will need, and what fits."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import torch

from bench import build, groups
from bench import machine as machines
from bench.cost import Prediction, Predictions
from bench.data.dataset import DataSet
from bench.errors import BenchError, Unsupported
from bench.kinds import SCHEMA
from bench.meter.fit import find_largest_batch
from bench.meter.measured import measure_cell
from bench.meter.predict import Rehearsal
from bench.meter.synthetic import choose_data
from bench.resolve import resolve
from bench.spec import Recompute, Run, Study

MIB, GIB = 2**20, 2**30
# Fewer say nothing about how a peak grows with depth.
MIN_DEPTHS = 3

Say = Callable[[str], None]


def find_all(studies: Sequence[Study], command: str, say: Say) -> Predictions:
    """Predict each study's cell; nothing is trained, and no memory of the sizes asked about is taken.

    Args:
        studies: As composed.
        command: As typed.
        say: Shows one line of progress.

    Returns:
        One row a study, in order; a cell that can't be is a row with its reason.

    Raises:
        BuildError, SpecError, DataError: A request is wrong; before anything is predicted, where that shows.
    """
    began = time.monotonic()
    cells = []
    for study in studies:
        run = resolve(study, 0, _choose_device(study))
        _check(run)
        cells.append((study, run))
    # Enough depths for a figure, which also shows what recomputing costs.
    is_counted = len({run.model.args.get("depth") for _, run in cells}) >= MIN_DEPTHS
    counts: dict[bytes, int] | None = {} if is_counted else None
    rows = []
    # What is there by now stays: each cell's collection would look through all of it again.
    gc.collect()
    gc.freeze()
    for number, (study, run) in enumerate(cells, start=1):
        start = time.monotonic()
        row = _predict(study, run, counts)
        rows.append(row)
        end = row.detail if row.memory is None else f"{row.memory.peak_bytes / MIB:,.4g} MiB"
        say(
            f"[{number:>3}/{len(cells)}] {run.model.name} {run.optimizer.name} {run.precision.name} "
            f"recompute={run.recompute.name}  {end}  {time.monotonic() - start:.1f} s"
        )
    return Predictions(
        schema=SCHEMA,
        command=command,
        machine=machines.describe("cpu", studies[0].threads).device_name,
        torch=machines.package_version("torch"),
        wall_s=time.monotonic() - began,
        rows=tuple(rows),
    )


def _predict(study: Study, run: Run, counts: dict[bytes, int] | None) -> Prediction:
    limit = _find_limit(study, run.device)
    row = Prediction(
        status="unsupported",
        detail=None,
        settings=dict(_list_settings(run)),
        device=run.device,
        data=run.data.name,
        batch_size=run.budget.batch_size,
        num_params=None,
        memory=None,
        measured_bytes=None,
        measured_detail=None,
        limit_bytes=limit,
        largest_batch=None,
        is_all_rows=False,
        flops_ratio=None,
    )
    try:
        run, name = choose_data(run, study.predict)
        row = msgspec.structs.replace(row, data=name, batch_size=run.budget.batch_size)
        data = build.load_data(run.data, "cpu")
        rehearsal = Rehearsal(run, data)
        memory = rehearsal.predict()
        found: dict[str, Any] = {"num_params": rehearsal.num_params, "memory": memory}
        if limit is not None:
            found |= _fit(rehearsal, limit, {run.budget.batch_size: memory.peak_bytes}, data.num_train_rows)
        if study.predict.measure:
            found |= _measure(run)
        if counts is not None:
            found["flops_ratio"] = _count_ratio(rehearsal, run, data, counts)
    except Unsupported as error:
        return msgspec.structs.replace(row, detail=str(error))
    except BenchError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:300]
        return msgspec.structs.replace(row, status="failed", detail=reason)
    return msgspec.structs.replace(row, status="finished", **found)


def _fit(rehearsal: Rehearsal, limit: int, known: dict[int, int], num_rows: int) -> dict[str, Any]:
    def peak_bytes(batch_size: int) -> int:
        if batch_size not in known:
            known[batch_size] = rehearsal.predict(batch_size).peak_bytes
        return known[batch_size]

    largest = find_largest_batch(peak_bytes, limit, num_rows, start=next(iter(known)))
    return {"largest_batch": largest, "is_all_rows": largest == num_rows}


def _count_ratio(rehearsal: Rehearsal, run: Run, data: DataSet, known: dict[bytes, int]) -> float:
    """Return the operations of a cell's step over those of one that recomputes nothing."""
    plain = msgspec.structs.replace(run, recompute=Recompute())
    counts = []
    for one in (run, plain):
        # Neither optimizer nor batch change the ratio.
        key = msgspec.json.encode((one.data, one.model, one.recompute))
        if key not in known:
            known[key] = (rehearsal if one is run else Rehearsal(plain, data)).count_flops()
        counts.append(known[key])
    return counts[0] / counts[1]


def _measure(run: Run) -> dict[str, Any]:
    try:
        peak_bytes, _ = measure_cell(run)
    except Unsupported as error:
        return {"measured_detail": str(error)}
    return {"measured_bytes": peak_bytes}


def _check(run: Run) -> None:
    """Refuse wrong import paths and arguments; patterns of names are held against the fake model later."""
    kinds = {key: options for key, options in run.optimizer.groups.items() if key in groups.KINDS}
    build.check(msgspec.structs.replace(run, optimizer=msgspec.structs.replace(run.optimizer, groups=kinds)))


def _choose_device(study: Study) -> str:
    """Return the kind of device a prediction is for: it need not be here."""
    if study.device != "auto":
        return study.device
    # A card's memory was named.
    return "cuda" if study.device_memory_gib is not None else machines.resolve_device("auto")


def _find_limit(study: Study, device: str) -> int | None:
    if study.device_memory_gib is not None:
        return int(study.device_memory_gib * GIB)
    if device == "cuda" and torch.cuda.is_available():
        return int(torch.cuda.get_device_properties(0).total_memory)
    return None


def _list_settings(run: Run) -> Iterator[tuple[str, str | float | bool | None]]:
    """Yield what a cell is made of by dotted key; columns of a table are those that differ."""
    yield "model", run.model.name
    yield from _flatten("model", run.model.args)
    yield "optimizer", run.optimizer.name
    yield "optimizer.impl", run.optimizer.impl
    yield "optimizer.weight_decay", run.optimizer.weight_decay
    yield from _flatten("optimizer", run.optimizer.args)
    yield "precision", run.precision.name
    yield "recompute", run.recompute.name
    segments = run.recompute.segments
    yield "recompute.segments", segments if run.recompute.name == "segments" else None
    yield "budget.accumulate", run.budget.accumulate
    yield "clip_norm", run.clip_norm
    yield "ema", run.ema


def _flatten(place: str, args: Mapping[str, Any]) -> Iterator[tuple[str, str | float | bool | None]]:
    for key, value in args.items():
        is_plain = value is None or isinstance(value, str | int | float)
        yield f"{place}.{key}", value if is_plain else str(value)
