"""An update period is declared or found, and never invented from a busy machine's noise."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from bench.meter.period import find_period


class Preconditioned(torch.optim.SGD):
    """Heavy every so many steps, and says so."""

    update_period = 5


def make_times(period: int, num: int, *, start: int, heavy: float) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    numbers = np.arange(start, start + num)
    times = random.lognormal(0.0, 0.05, num) * np.where(numbers % period == 2 % period, heavy, 1.0)
    # Now and then another program is in the way.
    return np.where(random.random(num) < 0.05, times * 3, times), numbers


@pytest.mark.parametrize("period", [2, 3, 10, 17])
def test_a_period_is_found_in_the_times(period: int) -> None:
    times, numbers = make_times(period, 200, start=31, heavy=2.0)
    assert find_period(None, times, numbers) == period


def test_steps_between_the_blocks_do_not_matter() -> None:
    times, numbers = make_times(10, 300, start=0, heavy=3.0)
    kept = numbers % 12 != 11
    assert find_period(None, times[kept], numbers[kept]) == 10


def test_noise_has_no_period() -> None:
    random = np.random.default_rng(1)
    for number in range(200):
        # From a quiet machine to one on which every other step is disturbed.
        share = 0.5 * number / 200
        times = random.lognormal(0.0, 0.1, 200) * np.where(random.random(200) < share, 3.0, 1.0)
        assert find_period(None, times, np.arange(200)) == 1
    assert find_period(None, [], []) == 1
    assert find_period(None, [1.0, 2.0], [0, 1]) == 1


def test_what_is_declared_holds() -> None:
    weights = [nn.Parameter(torch.zeros(2))]
    assert find_period(Preconditioned(weights, lr=0.1), [1.0] * 50, range(50)) == 5
    optimizer = torch.optim.SGD(weights, lr=0.1)
    optimizer.param_groups[0]["precondition_frequency"] = 20
    assert find_period(optimizer, [1.0] * 50, range(50)) == 20
    assert find_period(torch.optim.SGD(weights, lr=0.1), [1.0] * 50, range(50)) == 1
