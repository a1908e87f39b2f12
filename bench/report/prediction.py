"""What do=predict found, as the table on the terminal and as files: written from its rows alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from bench.cost import Prediction, Predictions
from bench.publish import write_atomic
from bench.record import encode
from bench.report.escape import clean, escape_markdown, fence_markdown, measure, shorten
from bench.report.heading import MAX_COLUMNS, shorten_line
from bench.report.plot.depth import draw_depth
from bench.report.prediction_columns import Column, choose_columns, list_shared, name_bytes
from bench.report.tables import write_csv


def write_predictions(folder: Path, found: Predictions) -> str:
    """Write what was found into a sweep's folder, and return it for the terminal.

    predictions.json, report.md, summary.txt, tables/predict.csv, and figures/depth.* where depths differ.

    Args:
        folder: `results/<sweep>`.
        found: The rows, in the order they were asked for.

    Returns:
        Lines of at most 100 columns, the last one with a line feed too.

    Raises:
        StoreError: The folder can't be written.
    """
    data = make_frame(found.rows)
    files = {
        Path("predictions.json"): encode(found),
        Path("tables", "predict.csv"): write_csv(data),
    }
    head, table, tail = _write_head(found), _write_table(found.rows), _write_tail(found.rows)
    pages = [f"# {head[0]}", *head[1:], fence_markdown("\n".join(table)), *tail]
    figure = draw_depth(data)
    if figure is not None:
        stem = Path("figures", figure.name)
        files[stem.with_suffix(".svg")] = figure.svg
        files[stem.with_suffix(".png")] = figure.png
        files[stem.with_suffix(".csv")] = write_csv(figure.data)
        pages.append(f"![{escape_markdown(figure.alt)}]({stem.with_suffix('.png').as_posix()})")
        pages.append(escape_markdown(figure.caption))
        tail.append(f"figure  {shorten(str(folder / stem.with_suffix('.svg')), MAX_COLUMNS - 8)}")
    pages.append(fence_markdown(found.command))
    tail.append(f"table   {shorten(str(folder / 'tables' / 'predict.csv'), MAX_COLUMNS - 8)}")
    lines = [*_shorten(head), "", *table, "", *_shorten(tail)]
    text = "\n".join(lines)
    files[Path("summary.txt")] = f"{text}\n".encode()
    files[Path("report.md")] = ("\n\n".join(pages) + "\n").encode()
    for path, content in files.items():
        write_atomic(folder / path, content)
    return f"{text}\n"


def make_frame(rows: Sequence[Prediction]) -> pd.DataFrame:
    """Return the rows as data: settings by dotted key, then every quantity in full."""
    records = []
    for row in rows:
        record: dict[str, Any] = dict(row.settings)
        record |= {
            "batch_size": row.batch_size,
            "data": row.data,
            "device": row.device,
            "status": row.status,
            "detail": row.detail,
            "num_params": row.num_params,
        }
        memory = row.memory
        if memory is not None:
            for name in ("params", "buffers", "grads", "state", "saved", "batch", "workspace", "peak"):
                record[f"{name}_bytes"] = getattr(memory, f"{name}_bytes")
            record["state_bytes_per_param"] = memory.state_bytes / row.num_params if row.num_params else None
            record |= {f"{phase}_peak_bytes": num_bytes for phase, num_bytes in memory.phases.items()}
            record |= {"phase": memory.phase, "is_lower_bound": memory.is_lower_bound}
            if row.measured_bytes is not None:
                record["measured_bytes"] = row.measured_bytes
                record["predicted_over_measured"] = memory.peak_bytes / row.measured_bytes
            if row.limit_bytes is not None:
                record |= {"limit_bytes": row.limit_bytes, "fits": memory.peak_bytes <= row.limit_bytes}
                record |= {"largest_batch": row.largest_batch, "is_all_rows": row.is_all_rows}
            if row.flops_ratio is not None:
                record["flops_ratio"] = row.flops_ratio
        records.append(record)
    return pd.DataFrame.from_records(records)


def _write_head(found: Predictions) -> list[str]:
    rows = found.rows
    devices = " and ".join(sorted({row.device for row in rows}))
    cells = f"{len(rows)} cell{'s' * (len(rows) != 1)}"
    lines = [f"predicted memory of one training step on {devices}: {cells}, {found.wall_s:.0f} s"]
    shared = list_shared(rows)
    if shared:
        lines.append("everywhere: " + ", ".join(shared))
    return [clean(line) for line in lines]


def _write_table(rows: Sequence[Prediction]) -> list[str]:
    """Return header and rows, aligned, of at most 100 columns."""
    columns = choose_columns(rows)
    widths = [max(measure(text) for text in (column.header, *column.cells)) for column in columns]
    gap = "  " if sum(widths) + 2 * (len(widths) - 1) <= MAX_COLUMNS else " "
    placed = list(zip(columns, widths, strict=True))
    lines = [gap.join(_pad(column, column.header, width) for column, width in placed)]
    for index, row in enumerate(rows):
        told = [(column, width) for column, width in placed if row.memory is not None or column.is_label]
        cells = [_pad(column, column.cells[index], width) for column, width in told]
        if row.memory is None:
            cells.append(clean(row.detail or row.status))
        lines.append(gap.join(cells))
    return [shorten_line(line.rstrip()) for line in lines]


def _write_tail(rows: Sequence[Prediction]) -> list[str]:
    known = [row for row in rows if row.memory is not None]
    lines = []
    if known:
        lines.append("K, M, G: KiB, MiB, GiB; saved: kept by forward for backward; phase: when the peak is")
    if limits := {row.limit_bytes for row in known if row.limit_bytes is not None}:
        named = " or ".join(map(name_bytes, sorted(limits)))
        lines.append(f"! does not fit {named}; largest: the most rows that fit, where one more would not")
    if any(row.is_all_rows for row in known):
        lines.append("+ all rows that the data has fit")
    if any(row.memory is not None and row.memory.is_lower_bound for row in known):
        lines.append("> at least so much: cuDNN's RNNs keep memory that is not counted")
    if any(row.memory is not None and row.memory.workspace_bytes for row in known):
        sizes = {row.memory.workspace_bytes for row in known if row.memory is not None}
        named = " or ".join(map(name_bytes, sorted(sizes)))
        lines.append(f"peaks hold {named} of cuBLAS's own; a driver's context and fragmentation come on top")
    ratios = [
        row.memory.peak_bytes / row.measured_bytes
        for row in known
        if row.memory is not None and row.measured_bytes is not None
    ]
    if ratios:
        worst = max(abs(ratio - 1) for ratio in ratios)
        lines.append(
            f"predicted over measured: {min(ratios):.4f} to {max(ratios):.4f} in {len(ratios)} cells, "
            f"at most {worst:.2%} off"
        )
    lines += sorted({row.measured_detail for row in known if row.measured_detail is not None})
    return [clean(line) for line in lines]


def _shorten(lines: Sequence[str]) -> list[str]:
    return [shorten(line, MAX_COLUMNS) for line in lines]


def _pad(column: Column, text: str, width: int) -> str:
    padding = " " * (width - measure(text))
    return text + padding if column.is_text else padding + text
