"""The denoiser sees the whole image and the time, which it reads at periods from short to long."""

from __future__ import annotations

import math

import pytest
import torch
from torch.func import jacrev

from tests.models import make_inputs, make_model, make_small


def test_time_is_written_in_sines_of_periods_from_one_step_to_ten_thousand() -> None:
    model = make_small("denoiser", time_width=8)
    # Vaswani et al.'s frequencies, for times of 1,000 steps.
    wanted = [1000 * 10_000 ** (-k / 4) for k in range(4)]
    torch.testing.assert_close(model.frequencies, torch.tensor(wanted))
    assert "frequencies" not in model.state_dict()
    seen = []
    model.read_time.register_forward_hook(lambda module, inputs, outputs: seen.append(inputs[0]))
    image, _ = make_inputs("noised", batch=1)
    model(image, torch.tensor([0.25]))
    phases = [0.25 * frequency for frequency in wanted]
    expected = [*map(math.sin, phases), *map(math.cos, phases)]
    torch.testing.assert_close(seen[0], torch.tensor([expected]), rtol=1e-4, atol=1e-4)


def test_every_pixel_and_the_time_matter_to_every_output() -> None:
    model = make_small("denoiser", num_outputs=64)
    image, time = make_inputs("noised", batch=1)
    by_image, by_time = jacrev(model, argnums=(0, 1))(image, time)
    assert by_image.shape == (1, 64, 1, 1, 8, 8) and (by_image != 0).all()
    assert (by_time != 0).all()


def test_rows_do_not_mix() -> None:
    model = make_small("denoiser", num_outputs=64)
    image, time = make_inputs("noised", batch=4)
    alone = model(image[2:3], time[2:3])
    torch.testing.assert_close(model(image, time)[2:3], alone)


def test_sines_come_with_cosines() -> None:
    with pytest.raises(ValueError, match=r"^time_width: wants an even number, got 7$"):
        make_model("denoiser", (1, 8, 8), 64, time_width=7)
