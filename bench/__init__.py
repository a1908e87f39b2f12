"""bench: which optimizer should I use for my model, how sure are we, and what does it cost?"""

from __future__ import annotations

from typing import Any

__all__ = ["compare"]


def __getattr__(name: str) -> Any:
    # `bench.compare` needs torch and pandas; the command line and the report do not wait for them.
    if name == "compare":
        from bench.library import compare

        return compare
    raise AttributeError(f"module 'bench' has no attribute {name!r}")
