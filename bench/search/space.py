"""What a search varies: dotted keys of a study, between which bounds, and a setting put back into it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from bench import strict
from bench.effort import Dimension
from bench.errors import SpecError, nearest
from bench.spec import Study

Value = bool | int | float | str
Params = dict[str, Value]
Space = dict[str, Dimension]

LR = "optimizer.lr"


def make_space(study: Study) -> Space:
    """Return what a study's search varies, by dotted key.

    Args:
        study: Its `search.name` says how much, its optimizer's YAML between which bounds; `search.space` adds
            keys and replaces those of the same name. An lr that is a number stays as it is, unless
            `search.space` names it.

    Raises:
        SpecError: A key does not exist, or a range is empty, inverted or beyond what the key accepts.
    """
    search, own = study.search, study.optimizer.search
    if search.name == "none":
        if search.space:
            key = next(iter(search.space))
            raise SpecError(f"search.space.{key}: search=none varies nothing; take search=lr")
        return {}
    found: dict[str, tuple[str, Dimension]] = {}
    if study.optimizer.lr == "auto":
        declared_lr = Dimension(low=own.lr.low, high=own.lr.high, log=True)
        found[LR] = ("optimizer.search.lr", declared_lr)
    if search.name not in ("lr", "lr_range") and own.weight_decay is not None:
        found["optimizer.weight_decay"] = ("optimizer.search.weight_decay", own.weight_decay)
    if search.name == "full":
        for name, dimension in own.full.items():
            found[f"optimizer.{name}"] = (f"optimizer.search.full.{name}", dimension)
    found |= {key: (f"search.space.{key}", dimension) for key, dimension in search.space.items()}

    known = _leaves(msgspec.to_builtins(study))
    for key, (place, dimension) in found.items():
        if key not in known:
            raise SpecError(f"{place}: no such key{nearest(key, known)}")
        _check_dimension(dimension, place)
        if key == LR and dimension.is_complement:
            raise SpecError(f"{place}: wants an interval of the lr itself, got is_complement")
        if search.sampler == "grid" and key != LR and dimension.choices is None:
            raise SpecError(
                f"{place}: wants choices under search.sampler=grid, got an interval; list them in "
                f"search.space, or take search.sampler=gp, tpe, qmc or random"
            )
        _check_values(study, key, dimension, place)
    return {key: dimension for key, (_, dimension) in found.items()}


def declared(study: Study, space: Space) -> Params:
    """Return the setting that needs no search, the first one every sampler tries.

    Args:
        study: The optimizer's declared lr, and the other keys as the study has them now.
        space: What is varied: a value outside its dimension becomes the nearest inside.

    Returns:
        A value for every key of the space: whole where the study's own is, so that whole numbers are tried.
    """
    plain = msgspec.to_builtins(study)
    leaves = _leaves(plain)
    values: Params = {}
    for key, dimension in space.items():
        value = _get(plain, leaves[key])
        if key == LR and value == "auto":
            value = study.optimizer.search.lr.default
        values[key] = _nearest_inside(dimension, value)
    return values


def apply(study: Study, params: Mapping[str, Value]) -> Study:
    """Return a study with dotted keys set, read anew so that every bound holds.

    Args:
        study: Any study.
        params: Dotted key -> value: `optimizer.lr`, `optimizer.betas[0]`, `model.dropout`, `clip_norm`.

    Raises:
        SpecError: A key does not exist, or does not take its value.
    """
    plain = msgspec.to_builtins(study)
    leaves = _leaves(plain)
    for key, value in params.items():
        if key not in leaves:
            raise SpecError(f"{key}: no such key{nearest(key, leaves)}")
        *steps, last = leaves[key]
        holder = _get(plain, steps)
        is_whole = isinstance(holder[last], int) and not isinstance(holder[last], bool)
        if is_whole and isinstance(value, float) and value.is_integer():
            value = int(value)
        holder[last] = value
    return strict.read(plain, Study, "")


def round_digits(value: float) -> float:
    """Return a number at 12 significant digits: the same setting reached twice then has one hash."""
    return float(f"{value:.12g}")


def _leaves(plain: dict[str, Any]) -> dict[str, tuple[str | int, ...]]:
    """Return the keys a search may vary, and where each is kept: an argument is written beside the class."""
    found: dict[str, tuple[str | int, ...]] = {}
    for group in ("optimizer", "model", "data"):
        found |= dict(_walk(plain[group]["args"], group, (group, "args")))
    found |= dict(_walk(plain["optimizer"].get("groups", {}), "optimizer.groups", ("optimizer", "groups")))
    for group in ("schedule", "budget"):
        found |= {f"{group}.{name}": (group, name) for name in plain[group]}
    # These change nothing: what the batch size keeps has been worked into the steps.
    del found["budget.name"], found["budget.hold"]
    return found | {
        LR: ("optimizer", "lr"),
        "optimizer.weight_decay": ("optimizer", "weight_decay"),
        "clip_norm": ("clip_norm",),
        "ema": ("ema",),
    }


def _walk(value: Any, key: str, path: tuple[str | int, ...]) -> Iterator[tuple[str, tuple[str | int, ...]]]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _walk(item, f"{key}.{name}", (*path, name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _walk(item, f"{key}[{index}]", (*path, index))
    else:
        yield key, path


def _get(plain: Any, path: Sequence[str | int]) -> Any:
    for step in path:
        plain = plain[step]
    return plain


def _check_dimension(dimension: Dimension, place: str) -> None:
    low, high, choices = dimension.low, dimension.high, dimension.choices
    if choices is not None:
        if low is not None or high is not None:
            raise SpecError(f"{place}: wants low and high, or choices, got both")
        if not choices:
            raise SpecError(f"{place}.choices: wants one or more values, got none")
        return
    if low is None or high is None:
        raise SpecError(f"{place}: wants low and high, or choices, got neither")
    if not low < high:
        raise SpecError(f"{place}: wants low < high, got {low:g} and {high:g}")
    if dimension.log and low <= 0:
        raise SpecError(f"{place}.low: wants a number > 0 on a log scale, got {low:g}")


def _check_values(study: Study, key: str, dimension: Dimension, place: str) -> None:
    low, high = _bounds(dimension) if dimension.choices is None else (None, None)
    for value in dimension.choices or (low, high):
        try:
            apply(study, {key: value})  # type: ignore[dict-item]
        except SpecError as error:
            raise SpecError(f"{place}: {str(error).partition(': ')[2]}") from None


def _bounds(dimension: Dimension) -> tuple[float, float]:
    """Return the least and greatest value of an interval, in the key's own terms."""
    low, high = dimension.low or 0.0, dimension.high or 0.0
    return (round_digits(1 - high), round_digits(1 - low)) if dimension.is_complement else (low, high)


def _nearest_inside(dimension: Dimension, value: Any) -> Value:
    if dimension.choices is not None:
        return value if value in dimension.choices else dimension.choices[0]
    low, high = _bounds(dimension)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return low
    inside = min(max(value, low), high)
    is_whole = isinstance(value, int) and float(low).is_integer() and float(high).is_integer()
    return int(inside) if is_whole else float(inside)
