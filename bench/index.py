"""A derived index over stored results, so that a question over ten thousand runs opens one file, not all."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from bench.errors import StoreError
from bench.publish import write_atomic
from bench.record import read_record
from bench.result import Result

INDEX_NAME = ".index.parquet"

# Which file a row was read from: the same four values, the same content.
_STAMP = ("path", "size", "mtime_ns", "inode")
_DTYPES = {
    "path": "string",
    "size": "Int64",
    "mtime_ns": "Int64",
    "inode": "Int64",
    # One line where the file could not be read; everything below is then absent.
    "error": "string",
    "id": "string",
    "status": "string",
    "data": "string",
    "model": "string",
    "optimizer": "string",
    "lr": "Float64",
    "weight_decay": "Float64",
    "schedule": "string",
    "precision": "string",
    "impl": "string",
    "recompute": "string",
    "compile": "string",
    "steps": "Int64",
    "batch_size": "Int64",
    "seed": "Int64",
    "val_loss": "Float64",
    "val_loss_best": "Float64",
    "train_loss": "Float64",
    "num_steps": "Int64",
    "num_skipped_steps": "Int64",
    "num_params": "Int64",
    "train_s": "Float64",
    "eval_s": "Float64",
    "engine": "string",
    "device": "string",
    "device_name": "string",
    "torch": "string",
    "commit": "string",
    "started_at": "string",
}


def load(root: Path) -> pd.DataFrame:
    """Return one row per stored result, reading only files that are new or changed since the last call.

    The index is kept at `<root>/.index.parquet`; deleting it changes nothing but the time this takes.

    Args:
        root: The folder `results/`.

    Returns:
        The columns of _DTYPES, sorted by path; a file that can't be read has its reason in `error`.
    """
    known: dict[str, dict[str, Any]] = {
        str(row["path"]): {str(key): value for key, value in row.items()}
        for row in _read_index(root / INDEX_NAME).to_dict("records")
    }
    rows: list[dict[str, Any]] = []
    is_changed = False
    for stamp in _scan(root):
        row = known.pop(stamp["path"], None)
        if row is None or any(row[key] != stamp[key] for key in _STAMP):
            row = _summarise(root, stamp)
            is_changed = True
        rows.append(row)
    frame = _frame(rows)
    if is_changed or known:
        # A folder that can't be written is still read.
        with contextlib.suppress(StoreError):
            buffer = io.BytesIO()
            frame.to_parquet(buffer, index=False)
            write_atomic(root / INDEX_NAME, buffer.getvalue())
    return frame


def _frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=list(_DTYPES)).astype(_DTYPES)
    return frame.sort_values("path", ignore_index=True)


def _read_index(path: Path) -> pd.DataFrame:
    """Return the stored index, or an empty one where it is absent, damaged or of another shape."""
    try:
        frame = pd.read_parquet(path)
        if list(frame.columns) == list(_DTYPES):
            return frame.astype(_DTYPES)
    except (OSError, ValueError, TypeError, KeyError):
        # pyarrow's own errors are among these; the files it was made of are still there.
        pass
    return _frame([])


def _scan(root: Path) -> Iterator[dict[str, Any]]:
    """Yield path, size, time and inode of every result file."""
    for path in root.glob("runs/*/*/*/result.json"):
        try:
            stat = os.stat(path)
        except OSError:
            continue
        yield {
            "path": path.relative_to(root).as_posix(),
            "size": stat.st_size,
            "mtime_ns": stat.st_mtime_ns,
            "inode": stat.st_ino,
        }


def _summarise(root: Path, stamp: dict[str, Any]) -> dict[str, Any]:
    try:
        result = read_record(root / stamp["path"], Result)
    except StoreError as error:
        return {**stamp, "error": str(error)}
    run = result.run
    return {
        **stamp,
        "id": result.id,
        "status": result.status,
        "data": run.data.name,
        "model": run.model.name,
        "optimizer": run.optimizer.name,
        "lr": None if isinstance(run.optimizer.lr, str) else run.optimizer.lr,
        "weight_decay": run.optimizer.weight_decay,
        "schedule": run.schedule.name,
        "precision": run.precision.name,
        "impl": run.optimizer.impl,
        "recompute": run.recompute.name,
        "compile": run.compile.name,
        "steps": run.budget.steps,
        "batch_size": run.budget.batch_size,
        "seed": run.seed,
        "val_loss": result.val_loss,
        "val_loss_best": result.val_loss_best,
        "train_loss": result.train_loss,
        "num_steps": result.num_steps,
        "num_skipped_steps": result.num_skipped_steps,
        "num_params": result.num_params,
        "train_s": result.train_s,
        "eval_s": result.eval_s,
        "engine": result.engine,
        "device": result.machine.device,
        "device_name": result.machine.device_name,
        "torch": result.machine.torch,
        "commit": result.machine.commit,
        "started_at": result.started_at,
    }
