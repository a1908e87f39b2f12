"""Linear data has the floor it promises, and grows without changing what was there."""

from __future__ import annotations

import pytest
import torch

from bench.data.gaussian import TABLE_SIZE, Gaussian
from bench.errors import DataError


def make(
    num_features: int = 10, num_train: int = 2048, num_val: int = 512, noise: float = 0.1, seed: int = 0
) -> Gaussian:
    return Gaussian(num_features=num_features, num_train=num_train, num_val=num_val, noise=noise, seed=seed)


def fit(data: Gaussian) -> tuple[torch.Tensor, float]:
    """Return least squares' weights `(num_features, 1)` and their mean squared error on validation."""
    inputs, targets = data.train_inputs.double(), data.train_targets.double()
    weights = torch.linalg.lstsq(inputs, targets).solution
    error = data.val_inputs.double() @ weights - data.val_targets.double()
    return weights, float(error.square().mean())


@pytest.mark.parametrize("noise", [0.0, 0.1, 1.0])
def test_least_squares_reaches_the_floor(noise: float) -> None:
    _, loss = fit(make(noise=noise))
    assert loss == pytest.approx(noise**2, rel=0.2, abs=1e-10)


@pytest.mark.parametrize("seed", range(4))
def test_inputs_and_weights_are_standard_normal(seed: int) -> None:
    data = make(num_features=200, num_train=1000, num_val=50, seed=seed)
    assert data.train_inputs.mean().item() == pytest.approx(0, abs=0.01)
    assert data.train_inputs.std().item() == pytest.approx(1, abs=0.01)
    weights, _ = fit(data)
    assert weights.std().item() == pytest.approx(1, abs=0.2)


def test_more_training_items_only_add() -> None:
    small, large = make(num_train=64), make(num_train=128)
    assert torch.equal(large.train_inputs[:64], small.train_inputs)
    assert torch.equal(large.train_targets[:64], small.train_targets)
    assert torch.equal(large.val_targets, small.val_targets)


def test_noise_changes_the_targets_only() -> None:
    quiet, loud = make(noise=0.0), make(noise=1.0)
    assert torch.equal(quiet.train_inputs, loud.train_inputs)
    assert not torch.equal(quiet.train_targets, loud.train_targets)


def test_seeds_give_other_data_of_the_same_source() -> None:
    seeds = [make(num_train=32, num_val=8, seed=seed) for seed in range(50)]
    firsts = {data.train_inputs.numpy().tobytes() for data in seeds}
    assert len(firsts) == 50
    assert {data.sha256 for data in seeds} == {make(num_features=3).sha256}


def test_the_table_is_used_to_its_end_and_not_beyond() -> None:
    num_features, num_val = 3, 1
    num_train = (TABLE_SIZE - num_features) // (num_features + 1) - num_val
    assert make(num_features, num_train, num_val).num_train_rows == num_train
    with pytest.raises(DataError, match=rf"^data\.num_train: wants at most {num_train} with 3 features"):
        make(num_features, num_train + 1, num_val)


def test_every_number_is_exact_in_float32() -> None:
    data = make()
    assert torch.equal(data.train_inputs * 1024, (data.train_inputs * 1024).round())
