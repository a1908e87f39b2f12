"""What the choice of a setting leaves open: another search, on other seeds, might have chosen another one."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

from scipy import special

from bench.result import SearchRecord
from bench.stats.effect import SELECTION_DF, Scale, summarise

# A gap between two settings holds the noise of the search that ran, and another search adds its own.
NUM_SEARCHES = 2


def selection_sd(search: SearchRecord | None, losses: Mapping[int, float], scale: Scale) -> float:
    """Return the standard deviation that a search's choice of setting adds to an optimizer's loss.

    Every rival of the chosen setting might truly be better by some gap. What is known of that gap is normal
    around the one observed; the mean square of its better half, summed over the rivals, is the answer's
    square (a bound: only one of them can be the best). In our replays of an optimizer against itself plain
    paired intervals err more the more seeds there are, and these do not (tests/calibration).

    Args:
        search: How the setting was found; None: nothing was searched.
        losses: Evaluation seed -> final loss at the chosen setting: their spread is the noise where the
            search ran no setting on two seeds.
        scale: The workload's: losses are compared by their logarithm, or as they are.

    Returns:
        On that scale, to be taken as known with `SELECTION_DF` degrees of freedom; 0 without a rival.

    Source: the mean square of a truncated normal, Johnson, Kotz and Balakrishnan 1994, "Continuous Univariate
    Distributions" 1, section 13.10; noise of settings crossed with seeds, Fisher 1925, "Statistical Methods
    for Research Workers". Their use for a search's regret is our own, after the variance components of
    Bouthillier et al. 2021, arXiv:2103.03098.
    """
    if search is None or search.best is None:
        return 0.0
    table = {
        trial.number: row
        for trial in search.trials
        if (row := _convert(trial.losses, scale)) is not None and trial.losses
    }
    chosen = table.pop(search.best, None)
    # Only settings tried as thoroughly could have been chosen in its place.
    rivals = [row for _, row in sorted(table.items()) if chosen and len(row) >= len(chosen)]
    if chosen is None or not rivals:
        return 0.0
    rivals = [_cap(row[: len(chosen)]) for row in rivals]
    noise = _estimate_noise([_cap(chosen), *rivals])
    if noise is None:
        spread = _convert(list(losses.values()), scale)
        if spread is None or len(spread) < 2:
            return 0.0
        noise = summarise(spread)[1] or 0.0, len(spread) - 1
    sd, df = noise
    error = sd * math.sqrt(2 * NUM_SEARCHES / len(chosen))
    own = math.fsum(chosen) / len(chosen)
    gaps = [math.fsum(row) / len(row) - own for row in rivals]
    regret = math.sqrt(math.fsum(mean_square_below(gap, error) for gap in gaps))
    if df >= SELECTION_DF:
        return regret
    # Noise known less well counts for as much more as its 95 % t interval is wider.
    return regret * float(special.stdtrit(df, 0.975) / special.stdtrit(SELECTION_DF, 0.975))


def mean_square_below(mean: float, sd: float) -> float:
    """Return the mean of min(x, 0)**2 over a normal x."""
    if sd == 0:
        return min(mean, 0.0) ** 2
    z = mean / sd
    density = math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    # Far out the two terms cancel to less than their rounding.
    return max(0.0, sd * sd * ((z * z + 1) * float(special.ndtr(-z)) - z * density))


def _convert(losses: Sequence[float | None], scale: Scale) -> list[float] | None:
    """Return losses on the scale they are compared on; None where one of them can't be."""
    known = [loss for loss in losses if loss is not None]
    if len(known) < len(losses):
        return None
    if scale == "difference":
        return known
    return [math.log(loss) for loss in known] if all(loss > 0 for loss in known) else None


def _cap(row: Sequence[float]) -> list[float]:
    """Return losses no further above their median than the least of them lies below it.

    A run that nearly diverged makes its setting look noisy, but noise of that kind can't make it the better
    choice: counted in full, one such run would take every claim from the setting that was chosen instead.
    """
    middle = statistics.median(row)
    return [min(loss, 2 * middle - min(row)) for loss in row]


def _estimate_noise(table: Sequence[Sequence[float]]) -> tuple[float, int] | None:
    """Return sd and degrees of freedom of what is neither the setting's nor the seed's; None without any.

    Args:
        table: A row for each setting, a column for each seed; the seeds are common to all rows.
    """
    num_rows, num_columns = len(table), len(table[0])
    if num_columns < 2:
        return None
    rows = [math.fsum(row) / num_columns for row in table]
    columns = [math.fsum(column) / num_rows for column in zip(*table, strict=True)]
    mean = math.fsum(rows) / num_rows
    square = math.fsum(
        (value - row - column + mean) ** 2
        for values, row in zip(table, rows, strict=True)
        for value, column in zip(values, columns, strict=True)
    )
    df = (num_rows - 1) * (num_columns - 1)
    return math.sqrt(square / df), df
