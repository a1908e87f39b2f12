"""One number for every random choice: a hash of (seed, purpose, counters), never of what ran before."""

from __future__ import annotations

import hashlib

# Evaluation seeds are 0, 1, 2...; the ranges of the other purposes never meet them.
SEARCH_BASE = 1_000_000
AA_BASE = 2_000_000


def evaluation_seeds(num: int) -> tuple[int, ...]:
    """Return the first `num` evaluation seeds: asking for more only adds."""
    return tuple(range(num))


def derive(seed: int, purpose: str, *counters: int) -> int:
    """Return a 63-bit generator seed for one purpose of a run.

    Args:
        seed: The run's seed.
        purpose: What the numbers are for: "init", "order", "dropout".
        counters: Position, such as the epoch or the step.

    Returns:
        A number in [0, 2**63), the same on every machine and in every process.
    """
    text = ":".join([purpose, str(seed), *map(str, counters)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
