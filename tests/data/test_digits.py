"""Digits are split per class, and standardised by what training may see."""

from __future__ import annotations

import pytest
import torch

from bench.data.digits import Digits


@pytest.fixture(scope="module")
def digits() -> Digits:
    return Digits(val_share=0.2, split_seed=0)


def test_each_digit_gives_the_same_share(digits: Digits) -> None:
    train, val = digits.train_targets.bincount(), digits.val_targets.bincount()
    assert int((train + val).sum()) == 1797
    assert torch.equal(val, torch.round(0.2 * (train + val)).long())


def test_training_pixels_are_standardised_and_blank_ones_stay_zero(digits: Digits) -> None:
    pixels = digits.train_inputs.double()
    assert pixels.mean(dim=0).abs().max() < 1e-6
    sd = pixels.std(dim=0, unbiased=False)
    is_blank = sd == 0
    assert 0 < int(is_blank.sum()) < 10
    assert torch.allclose(sd[~is_blank], torch.ones(()).double(), atol=1e-6)
    # By training's mean and sd: the held-out ones are near, and not exactly, standardised.
    assert 1e-3 < digits.val_inputs.mean(dim=0).abs().max() < 0.5


def test_a_split_seed_moves_images(digits: Digits) -> None:
    other = Digits(val_share=0.2, split_seed=1)
    assert not torch.equal(other.val_inputs, digits.val_inputs)
    assert other.sha256 == digits.sha256
