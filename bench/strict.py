"""Plain data into frozen records, once and strictly: a wrong value is one line that names its place."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from bench.errors import SpecError, nearest

T = TypeVar("T")

_AT = re.compile(r" - at `\$(?P<path>[^`]*)`$")
_FIELD = re.compile(r"unknown field `(?P<name>[^`]*)`|missing required field `(?P<missing>[^`]*)`")
_STEP = re.compile(r"\.(?P<key>[^.\[]+)|\[(?P<index>\d+|\.\.\.)\]")


def read(value: Any, kind: type[T] | Any, place: str) -> T:
    """Convert plain data into a record.

    Args:
        value: dicts, lists, strings, numbers, booleans and None.
        kind: The record, or any annotation msgspec understands.
        place: Dotted key of `value` itself, "" for the root.

    Raises:
        SpecError: `place: wants ..., got ...`, with the nearest valid name for an unknown key.
    """
    _refuse_nonfinite(value, place)
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise SpecError(_explain(str(error), value, inspect.type_info(kind), place)) from None


def wanted(info: inspect.Type) -> str:
    """Return what a type accepts, in words: "a number > 0 or 'auto'"."""
    match info:
        case inspect.UnionType():
            return " or ".join(wanted(member) for member in info.types)
        case inspect.IntType():
            return "a whole number" + _bounds(info)
        case inspect.FloatType():
            return "a number" + _bounds(info)
        case inspect.LiteralType():
            return _either([repr(item) for item in info.values])
        case inspect.BoolType():
            return "true or false"
        case inspect.NoneType():
            return "null"
        case inspect.StrType():
            if info.pattern:
                return "an import path like package.module.Name"
            return "a text" if not info.min_length else f"a text of {info.min_length} or more characters"
        case inspect.ListType() | inspect.VarTupleType():
            return f"a list of items, each {wanted(info.item_type)}"
        case inspect.TupleType():
            return f"{len(info.item_types)} values"
        case inspect.StructType() | inspect.DictType():
            return "keys and values"
        case _:
            return "another kind of value"


def _either(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " or " + items[-1]


def _bounds(info: inspect.IntType | inspect.FloatType) -> str:
    named = ((">", info.gt), (">=", info.ge), ("<", info.lt), ("<=", info.le))
    given = [f"{sign} {limit:g}" for sign, limit in named if limit is not None]
    return " " + " and ".join(given) if given else ""


def _refuse_nonfinite(value: Any, place: str) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise SpecError(f"{place}: wants a finite number, got {value}")
    if isinstance(value, dict):
        for key, item in value.items():
            _refuse_nonfinite(item, _join(place, str(key)))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _refuse_nonfinite(item, f"{place}[{index}]")


def _explain(message: str, value: Any, info: inspect.Type, place: str) -> str:
    at = _AT.search(message)
    path = at["path"] if at else ""
    for step in _STEP.finditer(path):
        key: Any = step["key"] if step["key"] is not None else step["index"]
        info = _descend(info, key)
        if key == "...":
            key = 0
        if isinstance(value, dict):
            value = value.get(key)
        elif isinstance(value, list | tuple) and str(key).isdigit():
            value = value[int(key)]
    place = _join(place, path.lstrip("."))
    if field := _FIELD.search(message):
        name = field["name"] or field["missing"]
        if field["missing"]:
            return f"{_join(place, name)}: missing"
        known = [f.encode_name for f in info.fields] if isinstance(info, inspect.StructType) else []
        return f"{_join(place, name)}: no such key{nearest(name, known)}"
    close = nearest(value, _literals(info)) if isinstance(value, str) else ""
    return f"{place}: wants {wanted(info)}, got {value!r}{close}"


def _descend(info: inspect.Type, key: str) -> inspect.Type:
    match info:
        case inspect.UnionType():
            nested = [m for m in info.types if isinstance(m, inspect.StructType | inspect.DictType)]
            return _descend(nested[0], key) if nested else info
        case inspect.StructType():
            return next((field.type for field in info.fields if field.encode_name == key), info)
        case inspect.DictType():
            return info.value_type
        case inspect.ListType() | inspect.VarTupleType():
            return info.item_type
        case inspect.TupleType():
            return info.item_types[int(key)] if key.isdigit() else info
        case _:
            return info


def _literals(info: inspect.Type) -> list[str]:
    members = info.types if isinstance(info, inspect.UnionType) else (info,)
    return [
        str(item) for member in members if isinstance(member, inspect.LiteralType) for item in member.values
    ]


def _join(place: str, key: str) -> str:
    return f"{place}.{key}" if place and key and not key.startswith("[") else place + key
