"""What a multirun need not have composed: Hydra does so for each job, and before that to see that it can."""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException
from hydra.plugins.sweeper import Sweeper
from omegaconf import DictConfig, OmegaConf

_MULTIRUN, _PLACES = {"-m", "--multirun"}, {"--config-dir", "-cd"}
# A key, and the values it takes one after the other.
Lists = list[tuple[str, list[Any]]]


def take_lists(words: Sequence[str]) -> tuple[list[str], Lists]:
    """Return the words with the first value of each such list in its place, and the lists.

    Hydra takes a tenth of a second for each job of a multirun, whose jobs may differ by a number alone.
    It still judges the key, and the first value. Lists of a group's members, of hydra's own keys and of
    anything but plain values are left to it, as is all that stands beside flags that ask for
    something else than a multirun.

    Args:
        words: As Hydra would get them.
    """
    flags = {word.partition("=")[0] for word in words if word.startswith("-")}
    if not flags & _MULTIRUN or flags - _MULTIRUN - _PLACES:
        return list(words), []
    keys = Counter(word.partition("=")[0].lstrip("+~") for word in words)
    kept, lists = [], []
    for word in words:
        key = word.partition("=")[0]
        values = _read_list(word) if "." in key and not key.startswith("hydra.") and keys[key] == 1 else None
        if values is None:
            kept.append(word)
        else:
            kept.append(f"{key}={values[0][0]}")
            lists.append((key, [value for _, value in values]))
    return kept, lists


def apply_lists(config: DictConfig, lists: Lists) -> Iterator[DictConfig]:
    """Yield the configuration with each combination of values in it; it is one object, changed in place."""
    for values in itertools.product(*(each for _, each in lists)):
        for (key, _), value in zip(lists, values, strict=True):
            OmegaConf.update(config, key, value, merge=True)
        yield config


@contextlib.contextmanager
def composed_once() -> Iterator[None]:
    """Have no job composed ahead of its launch, which here follows at once and judges it as well."""
    validate = Sweeper.validate_batch_is_legal
    Sweeper.validate_batch_is_legal = lambda self, batch: None  # type: ignore[method-assign]
    try:
        yield
    finally:
        Sweeper.validate_batch_is_legal = validate  # type: ignore[method-assign]


def _read_list(word: str) -> list[tuple[str, Any]] | None:
    """Return the values of a list as Hydra would write and read each; None: it is not ours to take."""
    parser = OverridesParser.create()
    try:
        override: Override = parser.parse_override(word)
        # A member of a group in another package; a key that is added or taken away.
        if override.package is not None or override.type is not OverrideType.CHANGE:
            return None
        if not (override.is_choice_sweep() or override.is_range_sweep()):
            return None
        texts = list(override.sweep_string_iterator())
        values = [parser.parse_override(f"{override.get_key_element()}={text}").value() for text in texts]
    except HydraException:
        # Hydra says it better, with the whole command before it.
        return None
    is_plain = all(value is None or isinstance(value, bool | int | float | str) for value in values)
    return list(zip(texts, values, strict=True)) if texts and is_plain else None
