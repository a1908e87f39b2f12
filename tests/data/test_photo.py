"""A photo's inputs, targets and pictures belong to the same pixels."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
import torch
from PIL import Image

from bench.data.photo import Photo


def make_photo(**changes: object) -> Photo:
    settings: dict[str, object] = {
        "stride": 8,
        "coordinate_range": (0.0, 1.0),
        "num_frequencies": 16,
        "frequency_sd": 6.0,
        "frequency_seed": 0,
        "val_share": 0.1,
        "split_seed": 0,
    }
    return Photo(**(settings | changes))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def photo() -> Photo:
    return make_photo()


def decode(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)))


def test_each_pixel_is_on_one_side(photo: Photo) -> None:
    num_pixels = math.ceil(427 / 8) * math.ceil(640 / 8)
    assert photo.num_train_rows + photo.num_val_rows == num_pixels
    assert photo.num_val_rows == round(0.1 * num_pixels)
    # A pixel's features are its own: none is on both sides.
    places = torch.cat([photo.train_inputs, photo.val_inputs])
    assert len(torch.unique(places, dim=0)) == num_pixels


def test_features_are_sine_and_cosine_of_the_same_angles(photo: Photo) -> None:
    assert photo.input_shape == (32,)
    sine, cosine = photo.train_inputs.split(16, dim=1)
    assert torch.allclose(sine**2 + cosine**2, torch.ones(()), atol=1e-6)


def test_the_frequencies_have_the_sd_asked_for() -> None:
    # One step down the picture turns each angle by 2 pi * frequency / (height - 1).
    photo = make_photo(num_frequencies=512, frequency_sd=2.0, val_share=3e-4)
    angle = torch.atan2(*photo.train_inputs[[0, 640 // 8]].split(512, dim=1))
    frequencies = (angle[1] - angle[0]) * (54 - 1) / (2 * math.pi)
    assert frequencies.std().item() == pytest.approx(2.0, rel=0.1)


def test_a_perfect_model_paints_the_original(photo: Photo) -> None:
    # Two seconds, that every process of a test run would pay.
    from sklearn.datasets import load_sample_image

    colours = {
        row.numpy().tobytes(): target
        for inputs, targets in (
            (photo.train_inputs, photo.train_targets),
            (photo.val_inputs, photo.val_targets),
        )
        for row, target in zip(inputs, targets, strict=True)
    }
    files = photo.artifacts(lambda batch: torch.stack([colours[row.numpy().tobytes()] for row in batch]))
    original = decode(files["original.png"])
    assert np.array_equal(original, load_sample_image("china.jpg")[::8, ::8])
    assert np.array_equal(decode(files["learned.png"]), original)


def test_colours_beyond_the_range_are_clipped(photo: Photo) -> None:
    files = photo.artifacts(lambda batch: torch.tensor([9.0, -9.0, 0.0]).expand(len(batch), 3))
    assert np.unique(decode(files["learned.png"]).reshape(-1, 3), axis=0).tolist() == [[255, 0, 128]]


def test_psnr_is_of_the_mean_squared_error(photo: Photo) -> None:
    assert photo.summarise(0.04, {}) == pytest.approx({"psnr_db": 20.0})
    assert photo.summarise(0.0, {}) == photo.summarise(math.inf, {}) == photo.summarise(math.nan, {}) == {}


def test_a_split_seed_moves_pixels_and_nothing_else(photo: Photo) -> None:
    other = make_photo(split_seed=1)
    assert not torch.equal(other.val_inputs, photo.val_inputs)
    assert other.sha256 == photo.sha256 == make_photo(stride=3).sha256
