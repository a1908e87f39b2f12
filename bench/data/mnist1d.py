"""MNIST-1D, ten short shapes hidden in noise: a set as small as digits that still tells models apart."""

from __future__ import annotations

import importlib
import random
from typing import Literal

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d

from bench.data.arrays import Arrays, digest
from bench.data.cache import recall
from bench.data.dataset import Seed
from bench.data.images import EvaluateOn
from bench.data.split import Share, hold_out
from bench.errors import Unsupported

NUM_CLASSES, NUM_TRAIN, NUM_TEST = 10, 4000, 1000
SEED = 42
# Heights of the ten shapes, left to right: the paper's, as its authors' package has them (Apache-2.0).
SHAPES = (
    (5, 6, 6.5, 6.75, 7, 7, 7, 7, 6.75, 6.5, 6, 5),
    (5, 3, 3, 3.4, 3.8, 4.2, 4.6, 5, 5.4, 5.8, 5, 5),
    (5, 6, 6.5, 6.5, 6, 5.25, 4.75, 4, 3.5, 3.5, 4, 5),
    (5, 6, 6.5, 6.5, 6, 5, 5, 6, 6.5, 6.5, 6, 5),
    (5, 4.4, 3.8, 3.2, 2.6, 2.6, 5, 5, 5, 5, 5, 5),
    (5, 3, 3, 3, 3, 5, 6, 6.5, 6.5, 6, 4.5, 5),
    (5, 4, 3.5, 3.25, 3, 3, 3, 3, 3.25, 3.5, 4, 5),
    (5, 7, 7, 6.6, 6.2, 5.8, 5.4, 5, 4.6, 4.2, 5, 5),
    (5, 4, 3.5, 3.5, 4, 5, 5, 4, 3.5, 3.5, 4, 5),
    (5, 4, 3.5, 3.5, 4, 5, 5, 5, 5, 4.7, 4.3, 5),
)
# What is done to a shape, as the package's default arguments have it.
PADDING = (36, 60)
LENGTH, FINAL_LENGTH = 72, 40
SCALE, MAX_SHIFT, SHEAR = 0.4, 48, 0.75
SMOOTH_NOISE, SMOOTHING, WHITE_NOISE = 0.25, 2.0, 0.02


class Mnist1d(Arrays):
    """Classification of signals of 40 numbers into ten shapes.

    Source: Greydanus and Kobak, 2020, arXiv 2011.14439.

    Args:
        source: `generated` draws the rows here, by the paper's recipe: the same distribution, other rows;
            `published` are the authors' own rows, which their package makes in seconds and a cache keeps.
        val_share: Share of each class's 400 or so training rows held out, whatever is evaluated on.
        split_seed: Of the split's private stream.
        evaluate_on: `test` puts the 1,000 test rows in the place of those held out.

    Raises:
        Unsupported: The published rows are asked for, and the package is not installed.
        DataError: An argument is out of range; the line names its key.
    """

    def __init__(
        self,
        *,
        source: Literal["generated", "published"],
        val_share: Share,
        split_seed: Seed,
        evaluate_on: EvaluateOn,
    ) -> None:
        if source == "generated":
            signals, labels = generate(np.random.Generator(np.random.PCG64(SEED)))
            sha256 = digest(signals, labels)
        else:
            published = recall("mnist1d_published", _publish)
            signals, labels = published["signals"], published["labels"]
            # To 4 digits, which every version of scipy agrees on.
            sha256 = digest(np.round(signals, 4), labels)
        inputs, targets = torch.from_numpy(signals.astype(np.float32)), torch.from_numpy(labels)
        train, val = (torch.from_numpy(rows) for rows in hold_out(labels[:NUM_TRAIN], val_share, split_seed))
        if evaluate_on == "test":
            val = torch.arange(NUM_TRAIN, len(labels))
        super().__init__(
            task="classification",
            item="sample",
            input_kind="features",
            num_outputs=NUM_CLASSES,
            sha256=sha256,
            train=(inputs[train], targets[train]),
            val=(inputs[val], targets[val]),
        )


def generate(stream: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw signals by the paper's recipe: pad, scale, shift, add noise, shear, sample.

    Deviations: every class has as many rows on each side as every other; values are multiples of 2**-10, so
    that the last bit of a platform's functions is lost and the hash holds everywhere.

    Args:
        stream: Where the rows are drawn from.

    Returns:
        Signals `(num_rows, 40)` float64, of mean 0 and variance 1 over all, and labels `(num_rows,)` int64;
        training rows first, each side in random order.
    """
    sides = (NUM_TRAIN, NUM_TEST)
    labels = np.concatenate([stream.permutation(np.arange(num) % NUM_CLASSES) for num in sides])
    num_rows = len(labels)
    shapes = np.array(SHAPES)
    shapes = (shapes - shapes.mean(axis=1, keepdims=True)) / shapes.std(axis=1, keepdims=True)
    # Each starts and ends at 0, where what is behind it goes on.
    shapes = (shapes - shapes[:, :1]) / 6
    num_heights = shapes.shape[1]
    # Where each of 72 points falls on its shape, whose padding stretches or squeezes it: (num_rows, 72).
    num_padded = num_heights + stream.integers(PADDING[0], PADDING[1] + 1, (num_rows, 1))
    places = np.linspace(0, 1, LENGTH) * (num_padded - 1)
    # Turned to the right in a ring, so that what is pushed out comes in on the left.
    shift = stream.integers(MAX_SHIFT, size=(num_rows, 1))
    places = np.take_along_axis(places, (np.arange(LENGTH) - shift) % LENGTH, axis=1)
    is_padding = places >= num_heights
    ended = np.pad(shapes, ((0, 0), (0, 1)))
    signals = _interpolate(ended[labels], np.where(is_padding, 0, places))
    signals *= 1 + SCALE * (stream.random((num_rows, 1)) - 0.5)
    smooth = gaussian_filter1d(SMOOTH_NOISE * stream.standard_normal(signals.shape), SMOOTHING, axis=1)
    signals = np.where(is_padding, smooth, signals) + WHITE_NOISE * stream.standard_normal(signals.shape)
    signals -= SHEAR * (stream.random((num_rows, 1)) - 0.5) * np.linspace(-0.5, 0.5, LENGTH)
    sampled = np.broadcast_to(np.linspace(0, LENGTH - 1, FINAL_LENGTH), (num_rows, FINAL_LENGTH))
    signals = _interpolate(signals, sampled)
    signals = (signals - signals.mean()) / signals.std()
    return np.round(signals * 1024) / 1024, labels


def _interpolate(rows: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return rows `(num_rows, length)` read at places `(num_rows, num_places)`, linearly between numbers."""
    left = np.minimum(places.astype(np.int64), rows.shape[1] - 2)
    weight = places - left
    here, there = (np.take_along_axis(rows, index, axis=1) for index in (left, left + 1))
    interpolated: np.ndarray = here * (1 - weight) + there * weight
    return interpolated


def _publish() -> dict[str, np.ndarray]:
    """Return the authors' rows, training rows first; what their package does to global streams is undone."""
    try:
        package = importlib.import_module("mnist1d.data")
    except ImportError as error:
        raise Unsupported(f"not run: wants the package mnist1d (pip install bench[data]): {error}") from None
    numpy_state, python_state = np.random.get_state(), random.getstate()
    try:
        # Made here; its get_dataset would go to the network first.
        made = package.make_dataset()
    finally:
        np.random.set_state(numpy_state)
        random.setstate(python_state)
    signals, labels = (np.concatenate([made[key], made[f"{key}_test"]]) for key in ("x", "y"))
    return {"signals": signals.astype(np.float64), "labels": labels.astype(np.int64)}
