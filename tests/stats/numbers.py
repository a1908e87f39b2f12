"""Numbers that the tests of the statistics draw from."""

from __future__ import annotations

from hypothesis import strategies as st

PAIRS = st.lists(st.tuples(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3)), min_size=3, max_size=12)
P_VALUES = st.lists(st.floats(0, 1), max_size=12)


def split(pairs: list[tuple[float, float]]) -> tuple[dict[int, float], dict[int, float]]:
    return {seed: pair[0] for seed, pair in enumerate(pairs)}, {
        seed: pair[1] for seed, pair in enumerate(pairs)
    }
