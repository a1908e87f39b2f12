"""The largest batch that fits a memory, found with few predictions, as peaks grow in straight lines."""

from __future__ import annotations

from collections.abc import Callable


def find_largest_batch(
    peak_bytes: Callable[[int], int], limit_bytes: float, most: int, start: int = 1
) -> int:
    """Return the largest batch whose peak is within a limit, or 0 where not even one row is.

    Each phase's peak grows in a straight line with the rows, so a line through two known ones is soon right.
    It only guesses: the batch that is returned was found to fit, and one row more was found not to.

    Args:
        peak_bytes: Predicts the peak in bytes of a number of rows; must not fall where rows are added.
        limit_bytes: What it may be.
        most: Rows there are.
        start: Rows to ask about first.
    """
    peaks: dict[int, int] = {}
    rows = min(start, most)
    while True:
        # Lines may creep up on a bend from one side; halves, every fourth time, do not.
        peaks[rows] = peak_bytes(rows)
        fits = max((rows for rows, peak in peaks.items() if peak <= limit_bytes), default=0)
        fails = min((rows for rows, peak in peaks.items() if peak > limit_bytes), default=most + 1)
        if fails == fits + 1:
            return fits
        is_halved = len(peaks) % 4 == 0 and fails <= most
        guess = (fits + fails) // 2 if is_halved else _guess(peaks, limit_bytes, fits, fails)
        rows = min(max(guess, fits + 1), fails - 1)


def _guess(peaks: dict[int, int], limit_bytes: float, fits: int, fails: int) -> int:
    """Return where a line through the two known points around or next to the limit crosses it."""
    below = sorted(rows for rows in peaks if rows <= fits)[-2:]
    above = sorted(rows for rows in peaks if rows >= fails)[:2]
    first, *rest = [below[-1], above[0]] if below and above else below or above
    if not rest:
        return 2 * first if below else first // 2
    slope = (peaks[rest[0]] - peaks[first]) / (rest[0] - first)
    return first + int((limit_bytes - peaks[first]) // slope) if slope > 0 else fails - 1
