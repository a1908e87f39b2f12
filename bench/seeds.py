"""One number for every random choice: a hash of (seed, purpose, counters), never of what ran before."""

from __future__ import annotations

import hashlib
from collections.abc import Collection

# Evaluation seeds are 0, 1, 2...; the ranges of the other purposes never meet them.
SEARCH_BASE = 1_000_000
AA_BASE = 2_000_000


def evaluation_seeds(num: int) -> tuple[int, ...]:
    """Return the first `num` evaluation seeds: asking for more only adds."""
    return tuple(range(num))


def seed_for(seed: int, vary: Collection[str], purpose: str) -> int:
    """Return the seed of one purpose of a run: its own where seeds vary that purpose, else that of seed 0."""
    return seed if purpose in vary else 0


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
