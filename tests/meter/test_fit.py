"""The largest batch that fits is found to the row, whatever lines the peak is made of."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bench.meter.fit import find_largest_batch

LINES = st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**8)), min_size=1, max_size=4)


@given(LINES, st.sampled_from([1, 512]), st.integers(0, 10**11), st.integers(1, 70_000), st.integers(1, 4096))
def test_it_fits_and_one_row_more_does_not(
    lines: list[tuple[int, int]], granule: int, limit: int, most: int, start: int
) -> None:
    asked: list[int] = []

    def peak_bytes(rows: int) -> int:
        asked.append(rows)
        return -(-max(base + rows * slope for base, slope in lines) // granule) * granule

    largest = find_largest_batch(peak_bytes, limit, most, start)
    assert len(asked) == len(set(asked)) and min(asked) >= 1 and max(asked) <= most
    assert largest == 0 or peak_bytes(largest) <= limit
    assert largest == most or peak_bytes(largest + 1) > limit


def test_a_straight_line_takes_four_predictions() -> None:
    asked: list[int] = []

    def peak_bytes(rows: int) -> int:
        asked.append(rows)
        return 10**9 + 7_654_321 * rows

    assert find_largest_batch(peak_bytes, 80 * 2**30, 65536, start=8) == (80 * 2**30 - 10**9) // 7_654_321
    assert len(asked) == 4
