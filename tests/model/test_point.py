"""A point is its coordinates: given for every row, moved by gradients, started where it is told."""

from __future__ import annotations

import pytest
import torch

from tests.models import make_model


def test_every_row_is_the_place() -> None:
    model = make_model("point", (2,), 2)
    outputs = model(torch.zeros(5, 2))
    assert outputs.shape == (5, 2) and torch.equal(outputs, model.place.expand(5, 2))
    assert [name for name, _ in model.named_parameters()] == ["place"]
    outputs.sum().backward()
    assert torch.equal(model.place.grad, torch.tensor([5.0, 5.0]))


def test_it_goes_down_a_quadratic() -> None:
    model = make_model("point", (3,), 3)
    target = torch.tensor([1.0, -2.0, 3.0])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    for _ in range(40):
        loss = (model(torch.zeros(1, 3)) - target).square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    torch.testing.assert_close(model.place.detach(), target, rtol=0, atol=1e-4)


@pytest.mark.parametrize(("mean", "sd"), [(0.0, 1.0), (-3.0, 0.5)])
def test_the_start_is_normal_and_goes_by_the_seed(mean: float, sd: float) -> None:
    places = [
        make_model("point", (4000,), 4000, seed=seed, start_mean=mean, start_sd=sd).place for seed in (0, 1)
    ]
    for place in places:
        assert place.mean().item() == pytest.approx(mean, abs=5 * sd / 4000**0.5)
        assert place.std().item() == pytest.approx(sd, rel=0.05)
    assert not torch.equal(*places)


def test_no_spread_starts_every_seed_at_the_centre() -> None:
    place = make_model("point", (2,), 2, start_mean=-1.5, start_sd=0.0).place
    assert torch.equal(place.detach(), torch.tensor([-1.5, -1.5]))
