"""The command line before Hydra reads it: our few short forms written out, and the sweep named after it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep
from hydra.errors import HydraException

# These choose where results go and what is shown of them: the same sweep, whatever they say.
_UNNAMED = ("hydra.", "hydra/", "place.", "report.", "report=", "retry=", "do=")


def expand(words: Sequence[str]) -> list[str]:
    """Return command-line words with our short forms written out in Hydra's own grammar.

    `seeds=10` becomes `seeds.num=10`; `search.space.model.dropout=[0,0.1]` gets the `++` that adds a key; and
    an interval, `optimizer.lr=tag(log,interval(1e-5,1e-1))`, which Hydra's own sweeper refuses, becomes a
    dimension of the search.

    Args:
        words: As typed, flags included.

    Returns:
        As many words, flags and everything else untouched.
    """
    return [_expand(word) if "=" in word and not word.startswith("-") else word for word in words]


def list_overrides(words: Sequence[str]) -> list[str]:
    """Return the words that are overrides, without Hydra's flags and their values."""
    return [word for word in words if not word.startswith("-") and ("=" in word or word.startswith("~"))]


def name_sweep(overrides: Sequence[str]) -> str:
    """Return the folder name of a sweep: readable, and the same for the same overrides in any order.

    Args:
        overrides: As typed, such as `optimizer=adam,adamw`.

    Returns:
        A slug of the values and six hexadecimal digits over the sorted overrides.
    """
    named = [override for override in overrides if not override.lstrip("+~").startswith(_UNNAMED)]
    words = []
    for override in named:
        key, _, value = override.lstrip("+~").partition("=")
        words.append(value if "." not in key and not value[:1].isdigit() else key.rpartition(".")[2] + value)
    slug = re.sub(r"[^a-z0-9_]+", "-", "-".join(words).lower()).strip("-")[:48].rstrip("-")
    return f"{slug or 'default'}-{hashlib.sha256(chr(10).join(sorted(named)).encode()).hexdigest()[:6]}"


def _expand(word: str) -> str:
    key, _, value = word.partition("=")
    if key == "seeds":
        return f"seeds.num={value}"
    if key.startswith("search.space."):
        return f"++{word}"
    if "interval(" not in value:
        return word
    try:
        parsed = OverridesParser.create().parse_override(word)
    except HydraException:
        # Hydra says it better, with the whole command before it.
        return word
    sweep = parsed.value()
    if not isinstance(sweep, IntervalSweep):
        return word
    is_log = "true" if "log" in sweep.tags else "false"
    return f"++search.space.{key.lstrip('+')}={{low:{sweep.start},high:{sweep.end},log:{is_log}}}"
