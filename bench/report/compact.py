"""Names short enough for a terminal and still apart: of several settings the values stand, not their keys."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from bench.report.escape import clean, measure, shorten


def compact_names(names: Sequence[str], columns: int) -> tuple[dict[str, str], str]:
    """Return each name -> what fits, and which settings its values are of: `photo_mlp* 1/32`, `depth/width`.

    Args:
        names: Such as `photo_mlp* model.depth=1 model.width=32`; kept as they are if all of them fit.
        columns: How much fits, at least 8.

    Returns:
        The short names, no two alike; and the settings, empty where none had to go.
    """
    unique = list(dict.fromkeys(names))
    short = {name: clean(name) for name in unique}
    keys: tuple[str, ...] = ()
    if any(measure(name) > columns for name in short.values()):
        words = {name: text.split(" ") for name, text in short.items()}
        orders = {tuple(_list_keys(each)) for each in words.values()} - {()}
        # Values under different keys can't share one line that explains them.
        if len(orders) == 1 and len(next(iter(orders))) > 1:
            (keys,) = orders
            short = {name: _pack(each) for name, each in words.items()}
    cut = {name: shorten(text, columns) for name, text in short.items()}
    counts = Counter(cut.values())
    numbers: Counter[str] = Counter()
    for name, text in cut.items():
        if counts[text] > 1:
            numbers[text] += 1
            mark = f" #{numbers[text]}"
            cut[name] = shorten(short[name], columns - len(mark)) + mark
    return cut, "/".join(key.rpartition(".")[2] for key in keys)


def _list_keys(words: Sequence[str]) -> list[str]:
    return [word.partition("=")[0] for word in words if "=" in word]


def _pack(words: Sequence[str]) -> str:
    heads = [word for word in words if "=" not in word]
    values = "/".join(word.partition("=")[2] for word in words if "=" in word)
    return " ".join([*heads, values] if values else heads)
