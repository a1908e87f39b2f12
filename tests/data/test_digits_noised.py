"""A noised digit is its clean image mixed with its target, as its time says: a matter of seed and step."""

from __future__ import annotations

import pytest
import torch

from bench.data.digits import Digits
from bench.data.digits_noised import DigitsNoised, add_noise, signal_share


def make(**changes: int) -> DigitsNoised:
    settings = {"split_seed": 0, "val_draws": 4, "noise_seed": 0} | changes
    return DigitsNoised(val_share=0.2, **settings)


def batch(
    data: DigitsNoised, seed: int, step: int, size: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    inputs, noise = data.train_batch(seed, step, size)
    assert isinstance(inputs, dict) and inputs.keys() == {"image", "time"}
    return inputs["image"], inputs["time"], noise


def test_shapes_and_ranges_are_as_promised() -> None:
    data = make()
    image, time, noise = batch(data, 0, 0, 64)
    assert image.shape == (64, 1, 8, 8) and time.shape == (64,) and noise.shape == (64, 64)
    assert {image.dtype, time.dtype, noise.dtype} == {torch.float32}
    assert time.min() > 0 and time.max() <= 1
    assert (data.num_train_rows, data.num_val_rows) == (1438, 4 * 359)
    assert (data.input_shape, data.num_outputs, data.input_kind) == ((1, 8, 8), 64, "noised")


def test_taking_the_noise_out_leaves_a_digit() -> None:
    image, time, noise = batch(make(), 0, 3, 1438)
    share = signal_share(time).view(-1, 1, 1, 1)
    clean = (image - (1 - share).sqrt() * noise.view_as(image)) / share.sqrt()
    clean = clean[share.flatten() > 0.1]
    # Levels of a digit: seventeen from -1 to 1.
    levels = (clean + 1) * 8
    assert (levels - levels.round()).abs().max() < 1e-3
    assert levels.round().min() == 0 and levels.round().max() == 16


def test_the_share_of_the_signal_falls_from_all_to_nothing() -> None:
    times = torch.linspace(0, 1, 101)
    share = signal_share(times)
    assert 1 - 1e-6 < share[0] <= 1 and 0 <= share[-1] < 1e-6
    assert (share[1:] < share[:-1]).all()
    # Equation 17 by hand at one half: cos^2(0.508 / 1.008 * pi / 2) / cos^2(0.008 / 1.008 * pi / 2).
    assert share[50].item() == pytest.approx(0.493844, abs=1e-5)
    # What is mixed of unit variances has unit variance.
    clean, noise = torch.randn(2, 101, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    assert add_noise(clean, times, noise).std(dim=(1, 2, 3)) == pytest.approx(torch.ones(101), abs=0.05)


def test_a_training_batch_is_a_pure_function_of_seed_and_step() -> None:
    asked = [(seed, step) for seed in (0, 1) for step in (0, 1, 30)]
    expected = {at: batch(make(), *at, 64) for at in asked}
    data = make()
    before = torch.get_rng_state()
    for at in [*reversed(asked), *asked]:
        for one, other in zip(batch(data, *at, 64), expected[at], strict=True):
            assert torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), before)
    assert len({noise.numpy().tobytes() for *_, noise in expected.values()}) == len(asked)


def test_noise_is_standard_normal_and_time_uniform() -> None:
    drawn = [batch(make(), 0, step, 1438) for step in range(5)]
    noise = torch.cat([noise for *_, noise in drawn])
    time = torch.cat([time for _, time, _ in drawn])
    assert noise.mean().item() == pytest.approx(0, abs=0.01)
    assert noise.std().item() == pytest.approx(1, abs=0.01)
    assert time.mean().item() == pytest.approx(0.5, abs=0.02)
    assert time.var().item() == pytest.approx(1 / 12, rel=0.05)


def test_each_half_of_validation_has_images_of_its_own_at_times_of_all_sizes() -> None:
    data = make()
    noises, times = [], []
    for part, num_images in (("search", 180), ("report", 179)):
        batches = list(data.val_batches(part))  # type: ignore[arg-type]
        assert sum(len(targets) for _, targets in batches) == 4 * num_images
        for inputs, targets in batches:
            assert isinstance(inputs, dict) and len(inputs["image"]) == len(inputs["time"]) == len(targets)
            # The draws of one image follow each other, one in each quarter of time.
            quarters = (inputs["time"].view(-1, 4) * 4).ceil()
            assert torch.equal(quarters, torch.tensor([1.0, 2, 3, 4]).expand_as(quarters))
            share = signal_share(inputs["time"])[::4].view(-1, 1)
            clean = (inputs["image"].flatten(1)[::4] - (1 - share).sqrt() * targets[::4]) / share.sqrt()
            noises.append(targets)
            times.append(((clean + 1) * 8).round().int())
    assert len(torch.unique(torch.cat(noises), dim=0)) == data.num_val_rows
    held_out = Digits(val_share=0.2, split_seed=0)
    assert len(torch.cat(times)) == held_out.num_val_rows
    search, report = (torch.unique(images, dim=0) for images in times)
    assert len(torch.unique(torch.cat([search, report]), dim=0)) == len(search) + len(report)


def test_validation_is_fixed_by_its_own_seed() -> None:
    def first(data: DigitsNoised) -> torch.Tensor:
        return next(data.val_batches("report"))[1]

    assert torch.equal(first(make()), first(make()))
    assert not torch.equal(first(make()), first(make(noise_seed=1)))
    data = make()
    data.train_batch(0, 0, 64)
    assert torch.equal(first(data), first(make()))


def test_the_loss_is_a_mean_over_pixels_summed_over_rows() -> None:
    data = make()
    targets = torch.ones(3, 64)
    targets[2] = 3
    assert data.loss(torch.zeros(3, 64), targets).item() == 1 + 1 + 9
    assert data.loss(torch.zeros(3, 1, 8, 8, dtype=torch.bfloat16), targets).dtype == torch.float32


def test_a_guess_of_no_noise_has_a_loss_of_one() -> None:
    data = make()
    for part in ("search", "report"):
        losses = [(data.loss(torch.zeros_like(t), t), len(t)) for _, t in data.val_batches(part)]  # type: ignore[arg-type]
        assert sum(loss for loss, _ in losses).item() / sum(n for _, n in losses) == pytest.approx(
            1, abs=0.03
        )  # type: ignore[union-attr]


def test_moving_moves_all_that_a_batch_needs() -> None:
    moved = make().to("meta")
    assert {tensor.device.type for tensor in batch(moved, 0, 0, 64)} == {"meta"}
