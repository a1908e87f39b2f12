"""An import path and plain values against what is really there: found, of the right type, in range."""

from __future__ import annotations

import inspect
import logging
import sys
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

import hydra.utils

from bench import strict
from bench.errors import BuildError, SpecError, nearest

# It prints what it also raises; we say it once, in one line.
logging.getLogger("hydra.utils").disabled = True


def locate(path: str, place: str) -> Any:
    """Return the object at an import path.

    Raises:
        BuildError: Nothing is there; with the nearest name of its module where there is one.
    """
    try:
        return hydra.utils.get_object(path)
    except Exception as error:  # Hydra wraps whatever the imported module raises.
        module, _, name = path.rpartition(".")
        known = dir(sys.modules[module]) if module in sys.modules else []
        if known and name not in known:
            raise BuildError(f"{place}: {module} has no '{name}'{nearest(name, known)}") from error
        reason = str(error.__cause__ or error).splitlines()[0]
        raise BuildError(f"{place}: can't import {path}: {reason}") from error


def bind(
    call: Callable[..., Any], given: Mapping[str, Any], place: str, supplied: tuple[str, ...]
) -> dict[str, Any]:
    """Check arguments against a signature and convert each by its annotation.

    Args:
        call: A class or function.
        given: Plain values by argument name, as a YAML has them.
        place: The group, for messages.
        supplied: Parameters that the builder fills in itself.

    Returns:
        The converted arguments.

    Raises:
        BuildError: An argument is unknown, missing, or of the wrong type or range; with the nearest name.
    """
    try:
        parameters = inspect.signature(call).parameters
    except ValueError:
        # Some built-in types have no signature to check against.
        raise BuildError(f"{place}._target_: {call!r} has no signature to check arguments against") from None
    takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    hints = _hints(call.__init__ if isinstance(call, type) else call)  # type: ignore[misc]
    known = [name for name in parameters if name not in supplied]
    for name in given:
        if not takes_any and name not in known:
            raise BuildError(f"{place}.{name}: no such argument{nearest(name, known)}")
    for name in known:
        parameter = parameters[name]
        is_required = parameter.default is inspect.Parameter.empty and parameter.kind in (
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            inspect.Parameter.KEYWORD_ONLY,
        )
        if is_required and name not in given:
            raise BuildError(f"{place}.{name}: missing")
    converted = {}
    for name, value in given.items():
        try:
            converted[name] = strict.read(_whole(value), _plain(hints.get(name, Any)), f"{place}.{name}")
        except SpecError as error:
            raise BuildError(str(error)) from None
    return converted


def _hints(call: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(call, include_extras=True)
    except (NameError, TypeError, AttributeError):
        # A name that only a type checker sees: the arguments then pass as they were written.
        return {}


def _whole(value: Any) -> Any:
    # 3.0 means 3 where a whole number is wanted, as it does in a run's id.
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _plain(hint: Any) -> Any:
    """Return an annotation without what no YAML value can be, such as a tensor."""
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        kept = [plain for plain in map(_plain, typing.get_args(hint)) if plain is not Any]
        return typing.Union[tuple(kept)] if kept else Any  # noqa: UP007
    if origin in (tuple, list, dict):
        return origin[tuple(item if item is ... else _plain(item) for item in typing.get_args(hint))]
    if origin in (typing.Literal, typing.Annotated) or hint in (
        int,
        float,
        str,
        bool,
        type(None),
        tuple,
        list,
        dict,
    ):
        return hint
    return Any
