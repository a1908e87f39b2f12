"""Images are normalised by channel, and what augmentation does is a pure function of seed and step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from bench.data.images import PAD, Images, flip_crop
from bench.errors import DataError

NUM_CLASSES = 3


def make(augment: str = "none", **changes: object) -> Images:
    """Return 60 training images of 3 x 5 x 4 pixels, none of them black, and 12 test images."""
    stream = np.random.default_rng(0)
    train, test = (
        (stream.integers(1, 256, (num, 3, 5, 4)).astype(np.uint8), np.arange(num) % NUM_CLASSES)
        for num in (60, 12)
    )
    settings: dict[str, object] = {
        "task": "classification",
        "val_share": 0.2,
        "split_seed": 0,
        "evaluate_on": "val",
        "mean": (0.0, 0.0, 0.0),
        "sd": (1.0, 1.0, 1.0),
        "augment": augment,
    }
    return Images(train=train, test=test, num_classes=NUM_CLASSES, found=Path("here"), **(settings | changes))  # type: ignore[arg-type]


def batch(data: Images, seed: int, step: int, batch_size: int) -> torch.Tensor:
    inputs, _ = data.train_batch(seed, step, batch_size)
    assert isinstance(inputs, torch.Tensor)
    return inputs


def test_each_channel_is_normalised_by_its_own_numbers() -> None:
    mean, sd = (0.1, 0.5, 0.9), (0.5, 1.0, 2.0)
    data = make(mean=mean, sd=sd)
    for channel, inputs in enumerate(batch(data, 0, 0, 48).unbind(1)):
        expected = (data.train_inputs[:, channel].double() / 255 - mean[channel]) / sd[channel]
        torch.testing.assert_close(inputs.double(), expected, rtol=0, atol=1e-6)


def test_a_training_batch_is_a_pure_function_of_seed_and_step() -> None:
    asked = [(seed, step) for seed in (0, 1) for step in range(5)]
    expected = {at: batch(make("flip_crop"), *at, 16) for at in asked}
    data = make("flip_crop")
    for at in [*reversed(asked), *asked]:
        assert torch.equal(batch(data, *at, 16), expected[at])
    assert len({inputs.numpy().tobytes() for inputs in expected.values()}) == len(asked)


def test_the_whole_set_is_augmented_anew_each_step() -> None:
    data = make("flip_crop")
    assert not torch.equal(batch(data, 0, 0, 48), batch(data, 0, 1, 48))


def test_rows_and_labels_are_those_of_the_plain_batch_and_validation_stays_as_it_is() -> None:
    plain, augmented = make(), make("flip_crop")
    assert torch.equal(plain.train_batch(3, 1, 16)[1], augmented.train_batch(3, 1, 16)[1])
    for one, other in zip(plain.val_batches("search"), augmented.val_batches("search"), strict=True):
        assert isinstance(one[0], torch.Tensor) and isinstance(other[0], torch.Tensor)
        assert torch.equal(one[0], other[0])


def test_augmentation_moves_by_up_to_four_pixels_and_mirrors_half() -> None:
    num = 4000
    image = torch.arange(1, 1 + 2 * 6 * 5, dtype=torch.uint8).reshape(1, 2, 6, 5)
    moved = flip_crop(image.expand(num, -1, -1, -1), seed=0)
    assert moved.shape == (num, 2, 6, 5) and moved.dtype == torch.uint8
    padded = torch.nn.functional.pad(image[0], (PAD, PAD, PAD, PAD))
    possible = {}
    for down in range(2 * PAD + 1):
        for right in range(2 * PAD + 1):
            cut = padded[:, down : down + 6, right : right + 5]
            for is_mirrored, view in ((False, cut), (True, cut.flip(2))):
                possible[view.contiguous().numpy().tobytes()] = (down, right, is_mirrored)
    # A corner that shows one pixel in black does not tell a mirror image from a move.
    assert len(possible) > 150
    seen = [possible[one.contiguous().numpy().tobytes()] for one in moved]
    assert {(down, right) for down, right, _ in seen} == {(d, r) for d in range(9) for r in range(9)}
    assert sum(is_mirrored for *_, is_mirrored in seen) == pytest.approx(num / 2, abs=4 * (num / 4) ** 0.5)
    assert np.mean([down for down, *_ in seen]) == pytest.approx(PAD, abs=0.2)
    assert np.mean([right for _, right, _ in seen]) == pytest.approx(PAD, abs=0.2)


def test_augmentation_leaves_the_global_stream_alone_and_follows_its_seed() -> None:
    images = make().train_inputs
    before = torch.get_rng_state()
    one, again, other = (flip_crop(images, seed) for seed in (5, 5, 6))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one, again) and not torch.equal(one, other)


def test_moving_moves_all_that_a_batch_needs() -> None:
    data = make("flip_crop")
    moved = data.to("meta")
    assert batch(moved, 0, 0, 16).device.type == "meta"
    assert batch(data, 0, 0, 16).device.type == "cpu"


def test_it_describes_what_was_read_and_from_where() -> None:
    data = make()
    lines = data.describe()
    assert lines["rows a class, train"].startswith("16 16 16 ")
    assert lines["rows a class, held out"].startswith("4 4 4 ")
    assert lines["files"] == "here"
    pixels = data.train_inputs[:, 1].double() / 255
    assert f"{pixels.mean():.4f} sd {pixels.std(unbiased=False):.4f}" in lines["pixels"]
    assert all("\n" not in line for line in lines.values())


BAD = [
    ("mean", (0.0,), "wants 3 numbers, one a channel, got "),
    ("sd", (1.0, 1.0), "wants 3 numbers, one a channel, got "),
    ("sd", (1.0, 0.0, 1.0), "wants numbers > 0, got "),
    ("augment", "flip", "wants none or flip_crop, got 'flip'"),
    ("val_share", 1.0, "wants a number > 0 and < 1, got 1.0"),
]


@pytest.mark.parametrize(("key", "value", "said"), BAD)
def test_a_bad_argument_is_one_line_that_names_its_key(key: str, value: object, said: str) -> None:
    with pytest.raises(DataError, match=rf"^data\.{key}: {said}"):
        make(**{key: value})


def test_pixels_that_are_the_target_are_not_augmented() -> None:
    with pytest.raises(DataError, match=r"^data\.augment: wants none where pixels are the targets, got "):
        make("flip_crop", task="reconstruction")
