"""Which columns the table of do=predict has: what its rows differ in, then what was found of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.cost import Memory, Prediction
from bench.report.escape import clean, shorten
from bench.report.tables import ABSENT

_ABSENT = ABSENT.replace("–", "-")  # noqa: RUF001
# Whose arguments tell rows apart only where they share the name.
_OWNERS = ("model", "optimizer", "recompute")
_MAX_LABEL = 14


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column as text."""

    header: str
    cells: tuple[str, ...]
    is_text: bool = False
    # Part of what tells rows apart.
    is_label: bool = False


def choose_columns(rows: Sequence[Prediction]) -> list[Column]:
    """Return the columns of a table, labels first."""
    differing = find_differing(rows)
    columns = [_label(key, [row.settings.get(key) for row in rows]) for key in differing]
    if not any(key.startswith("model.") for key in differing) and len({row.num_params for row in rows}) > 1:
        sizes = tuple(_ABSENT if row.num_params is None else name_count(row.num_params) for row in rows)
        columns.insert("model" in differing, Column(header="params", cells=sizes, is_label=True))
    if len({row.batch_size for row in rows}) > 1:
        batches = tuple(f"{row.batch_size}" for row in rows)
        columns.append(Column(header="batch", cells=batches, is_label=True))
    is_measured = any(row.measured_bytes is not None for row in rows)
    # Beside a measured peak there is no room for all of its parts.
    if not is_measured:
        columns += [_bytes(rows, "weights", lambda memory: memory.params_bytes)]
        columns += [_bytes(rows, "grads", lambda memory: memory.grads_bytes)]
        columns += [_bytes(rows, "state", lambda memory: memory.state_bytes)]
    shares = tuple(_name_share(row) for row in rows)
    columns.append(Column(header="B/par", cells=shares))
    columns.append(_bytes(rows, "saved", lambda memory: memory.saved_bytes))
    columns.append(_peaks(rows))
    phases = tuple(_ABSENT if row.memory is None else row.memory.phase for row in rows)
    columns.append(Column(header="phase", cells=phases, is_text=True))
    if is_measured:
        found = tuple(name_bytes(row.measured_bytes) for row in rows)
        columns.append(Column(header="measured", cells=found))
        columns.append(Column(header="ratio", cells=tuple(_name_ratio(row) for row in rows)))
    if any(row.largest_batch is not None for row in rows):
        columns.append(Column(header="largest", cells=tuple(_name_largest(row) for row in rows)))
    return columns


def find_differing(rows: Sequence[Prediction]) -> list[str]:
    """Return the settings that tell rows apart, by dotted key, in the order of the first row that has them.

    Arguments count only where they differ between rows of one model, or of one optimizer. Several sizes of a
    model that go with its number of parameters are told by that number instead.
    """
    keys = list(dict.fromkeys(key for row in rows for key in row.settings))
    differing = [key for key in keys if _differs(rows, key)]
    sizes = [key for key in differing if key.startswith("model.")]
    if len(sizes) > 1 and _is_sized(rows):
        shapes = {tuple(row.settings.get(key) for key in ("model", *sizes)) for row in rows}
        told = {(row.settings["model"], row.num_params) for row in rows}
        if len(shapes) == len(told):
            differing = [key for key in differing if key not in sizes]
    return differing


def list_shared(rows: Sequence[Prediction]) -> list[str]:
    """Return what all rows have in common and a reader would ask for, as words."""
    first = rows[0].settings
    named = {"model": "", "optimizer": "", "optimizer.impl": "", "precision": "", "recompute": "recompute "}
    shared = [
        f"{word}{first[key]}"
        for key, word in named.items()
        if first.get(key) is not None and {row.settings.get(key) for row in rows} == {first[key]}
    ]
    sizes = {row.num_params for row in rows}
    if len(sizes) == 1 and first.get("model") and rows[0].num_params is not None:
        shared.insert(1, f"{name_count(rows[0].num_params)} parameters")
    if len({row.batch_size for row in rows}) == 1:
        shared.append(f"batch {rows[0].batch_size}")
    data = dict.fromkeys(row.data for row in rows)
    return [*shared, "data " + " and ".join(data)] if len(data) <= 3 else shared


def name_bytes(num_bytes: int | None) -> str:
    """Return bytes to three digits in KiB, MiB or GiB: 12.3K, 1.23G."""
    if num_bytes is None:
        return _ABSENT
    if num_bytes == 0:
        return "0"
    factor, word = next((unit for unit in ((2**30, "G"), (2**20, "M")) if num_bytes >= unit[0]), (2**10, "K"))
    size = num_bytes / factor
    return f"{size:.{0 if size >= 100 else 1 if size >= 10 else 2}f}{word}"


def name_count(count: int) -> str:
    """Return a number of parameters as it is said: 124.4M, 1.56B."""
    for factor, word in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if count >= factor:
            return f"{count / factor:.4g}{word}"
    return str(count)


def _is_sized(rows: Sequence[Prediction]) -> bool:
    return all(row.num_params is not None for row in rows)


def _differs(rows: Sequence[Prediction], key: str) -> bool:
    owner, _, name = key.partition(".")
    if not name or owner not in _OWNERS:
        return len({row.settings.get(key) for row in rows}) > 1
    by_owner: dict[object, set[object]] = {}
    for row in rows:
        by_owner.setdefault(row.settings[owner], set()).add(row.settings.get(key))
    return any(len(values) > 1 for values in by_owner.values())


def _label(key: str, values: Sequence[str | float | bool | None]) -> Column:
    is_text = any(isinstance(value, str) for value in values)
    cells = tuple(_ABSENT if value is None else shorten(clean(f"{value}"), _MAX_LABEL) for value in values)
    return Column(header=key.rpartition(".")[2], cells=cells, is_text=is_text, is_label=True)


def _bytes(rows: Sequence[Prediction], header: str, read: Callable[[Memory], int]) -> Column:
    cells = tuple(_ABSENT if row.memory is None else name_bytes(read(row.memory)) for row in rows)
    return Column(header=header, cells=cells)


def _peaks(rows: Sequence[Prediction]) -> Column:
    has_limit = any(row.limit_bytes is not None for row in rows)
    cells = []
    for row in rows:
        memory = row.memory
        if memory is None:
            cells.append(_ABSENT)
            continue
        is_over = row.limit_bytes is not None and memory.peak_bytes > row.limit_bytes
        mark = ("!" if is_over else " ") if has_limit else ""
        cells.append((">" if memory.is_lower_bound else "") + name_bytes(memory.peak_bytes) + mark)
    return Column(header="peak" + " " * has_limit, cells=tuple(cells))


def _name_share(row: Prediction) -> str:
    if row.memory is None or not row.num_params:
        return _ABSENT
    return f"{row.memory.state_bytes / row.num_params:.4g}"


def _name_ratio(row: Prediction) -> str:
    if row.memory is None or row.measured_bytes is None:
        return _ABSENT
    return f"{row.memory.peak_bytes / row.measured_bytes:.4f}"


def _name_largest(row: Prediction) -> str:
    if row.largest_batch is None:
        return _ABSENT
    return f"{row.largest_batch}{'+' if row.is_all_rows else ''}"
