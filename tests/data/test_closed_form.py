"""Closed forms have the slopes and the noise they promise, and tell optimizers apart as theory says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.data.closed_form import NUM_ROWS, ClosedForm
from bench.data.quadratic import Quadratic
from bench.data.rosenbrock import FLOOR, Rosenbrock
from bench.errors import DataError
from bench.model.point import Point
from bench.schedule import lr_factors
from bench.spec import Schedule


def make_quadratic(**changes: Any) -> Quadratic:
    settings = {"num_dimensions": 100, "condition": 1e4, "noise": 0.1, "is_rotated": False}
    return Quadratic(**(settings | {"rotation_seed": 0} | changes))  # type: ignore[arg-type]


def make_rosenbrock(**changes: Any) -> Rosenbrock:
    return Rosenbrock(**({"num_dimensions": 2, "noise": 0.1} | changes))


ALL = {"axes": make_quadratic(), "rotated": make_quadratic(is_rotated=True), "rosenbrock": make_rosenbrock()}


@pytest.fixture(params=ALL)
def data(request: pytest.FixtureRequest) -> ClosedForm:
    return ALL[request.param]


def slope(data: ClosedForm, place: Tensor, draws: Tensor) -> tuple[float, Tensor]:
    """Return the mean loss of a batch and its gradient at one place."""
    place = place.clone().requires_grad_()
    loss = data.loss(place.expand(len(draws), -1), draws) / len(draws)
    loss.backward()  # type: ignore[no-untyped-call]
    assert place.grad is not None
    return loss.item(), place.grad


def some_place(data: ClosedForm) -> Tensor:
    return torch.linspace(-0.5, 0.7, data.num_outputs)


def minimum(data: ClosedForm) -> Tensor:
    """Return where every coordinate is 1."""
    return torch.linalg.solve(data.coordinates(torch.eye(data.num_outputs)).T, torch.ones(data.num_outputs))


def test_it_says_what_a_model_must_fit(data: ClosedForm) -> None:
    assert data.input_kind == "point" and data.item == "draw"
    assert data.input_shape == (data.num_outputs,)
    draws, targets = data.train_batch(0, 0, 3)
    assert isinstance(draws, Tensor) and draws.shape == (3, data.num_outputs)
    assert torch.equal(draws, targets)
    assert data.train_batch(0, 0, 10**9)[1].shape == (NUM_ROWS, data.num_outputs)


def test_noise_turns_the_slope_and_never_the_value(data: ClosedForm) -> None:
    place, draws = some_place(data), data.train_batch(0, 0, 5)[1]
    value, exact = slope(data, place, torch.zeros_like(draws))
    noised, turned = slope(data, place, draws)
    assert noised == value
    coordinates = data.coordinates(place[None])
    error = data.slope_error(coordinates, draws).mean(dim=0)
    basis = data.coordinates(torch.eye(data.num_outputs))
    torch.testing.assert_close(turned - exact, basis @ error, rtol=1e-3, atol=1e-4)
    assert (turned - exact).norm() > 1e-3


def test_noise_has_mean_0_and_shrinks_with_the_batch(data: ClosedForm) -> None:
    place = some_place(data)
    exact = slope(data, place, torch.zeros(1, data.num_outputs))[1]

    def spread(batch_size: int) -> float:
        steps = range(300 if batch_size == 1 else 30)
        errors = [slope(data, place, data.train_batch(0, n, batch_size)[1])[1] - exact for n in steps]
        return float(torch.stack(errors).square().sum(dim=1).mean().sqrt())

    assert spread(100) == pytest.approx(spread(1) / 10, rel=0.4)


def test_draws_are_a_function_of_seed_and_step(data: ClosedForm) -> None:
    before = torch.get_rng_state()
    first = data.train_batch(3, 4, 2)[1]
    others = [data.train_batch(3, 5, 2)[1], data.train_batch(4, 4, 2)[1]]
    assert torch.equal(data.train_batch(3, 4, 2)[1], first)
    assert not any(torch.equal(other, first) for other in others)
    assert torch.equal(torch.get_rng_state(), before)


def test_both_halves_of_validation_are_the_exact_value(data: ClosedForm) -> None:
    place = some_place(data)
    values = []
    for part in ("search", "report"):
        ((inputs, targets),) = data.val_batches(part)  # type: ignore[arg-type]
        assert isinstance(inputs, Tensor) and not inputs.any()
        values.append(data.loss(place[None], targets).item())
    assert values[0] == values[1] == pytest.approx(data.value(data.coordinates(place[None])).item())


def test_the_minimum_is_where_every_coordinate_is_1(data: ClosedForm) -> None:
    place = minimum(data)
    draws = data.train_batch(0, 0, 1)[1]
    assert slope(data, place, draws)[0] < 2e-11
    assert slope(data, place, torch.zeros_like(draws))[1].abs().max() < 1e-4
    assert data.metrics(place[None], draws)["distance"].item() < 1e-4
    assert data.metrics(torch.zeros_like(draws), draws)["distance"].item() == pytest.approx(
        math.sqrt(data.num_outputs)
    )


def test_quadratic_noise_has_the_hessian_as_covariance() -> None:
    data = make_quadratic(num_dimensions=3, condition=100.0, noise=0.5, is_rotated=True)
    place = torch.zeros(3)
    exact = slope(data, place, torch.zeros(1, 3))[1]
    errors = [slope(data, place, data.train_batch(0, step, 1)[1])[1] - exact for step in range(3000)]
    columns = [slope(data, axis, torch.zeros(1, 3))[1] - exact for axis in torch.eye(3)]
    hessian = torch.stack(columns)
    torch.testing.assert_close(torch.stack(errors).T.cov(), 0.25 * hessian, rtol=0, atol=0.02)
    assert torch.linalg.eigvalsh(hessian).tolist() == pytest.approx([0.01, 0.1, 1.0], rel=1e-3)


def test_rotation_seeds_give_other_bases() -> None:
    bases = [make_quadratic(is_rotated=True, rotation_seed=n).coordinates(torch.eye(100)) for n in range(3)]
    for basis in bases:
        torch.testing.assert_close(basis @ basis.T, torch.eye(100), rtol=0, atol=1e-5)
    assert not torch.allclose(bases[0], bases[1]) and not torch.allclose(bases[1], bases[2])
    assert torch.equal(make_quadratic(rotation_seed=1).coordinates(torch.eye(100)), torch.eye(100))


def test_rosenbrock_is_rosenbrocks() -> None:
    value = make_rosenbrock().value(torch.tensor([[-1.2, 1.0], [1.0, 1.0], [0.0, 0.0]]))
    assert value.tolist() == pytest.approx([24.2, FLOOR, 1.0], rel=1e-5)
    chained = make_rosenbrock(num_dimensions=3).value(torch.tensor([[-1.2, 1.0, 1.0]]))
    assert chained.item() == pytest.approx(24.2, rel=1e-5)


def test_members_of_a_population_get_their_own_slopes(data: ClosedForm) -> None:
    places = torch.stack([some_place(data), 2 * some_place(data)])
    draws = torch.stack([data.train_batch(seed, 0, 3)[1] for seed in range(2)])
    grads = torch.func.vmap(torch.func.grad(lambda place, draw: data.loss(place.expand(3, -1), draw)))(
        places, draws
    )
    alone = torch.stack([3 * slope(data, place, draw)[1] for place, draw in zip(places, draws, strict=True)])
    torch.testing.assert_close(grads, alone)


SCHEDULE = Schedule(name="cosine", warmup=0.05, floor=0.0, interval="step")


def descend(
    data: ClosedForm,
    optimizer: type[torch.optim.Optimizer],
    lrs: Sequence[float],
    steps: int,
    **arguments: Any,
) -> Tensor:
    """Return the final losses `(lrs, seeds)` of points that start at 0, all trained side by side."""
    seeds = range(3)
    members = [(lr, seed) for lr in lrs for seed in seeds]
    points = [Point(data.input_shape, data.num_outputs, start_mean=0.0, start_sd=0.0) for _ in members]
    groups = [
        {
            "params": [point.place for point, (own, _) in zip(points, members, strict=True) if own == lr],
            "lr": lr,
        }
        for lr in lrs
    ]
    # Summed losses give each point its own gradient.
    step_all = optimizer(groups, lr=1.0, foreach=True, **arguments)  # type: ignore[call-arg]
    for step, factor in enumerate(lr_factors(SCHEDULE, steps, steps)):
        for group, lr in zip(step_all.param_groups, lrs, strict=True):
            group["lr"] = lr * factor
        draws = {seed: data.train_batch(seed, step, 1)[1] for seed in seeds}
        targets = torch.cat([draws[seed] for _, seed in members])
        outputs = torch.cat([point(draws[seed]) for point, (_, seed) in zip(points, members, strict=True)])
        step_all.zero_grad()
        data.loss(outputs, targets).backward()  # type: ignore[no-untyped-call]
        step_all.step()
    (batch,) = data.val_batches("report")
    losses = [data.loss(point(batch[0]), batch[1]).item() for point in points]
    return torch.tensor(losses).reshape(len(lrs), len(seeds))


def tuned(losses: Tensor) -> float:
    """Return the loss of the best lr, averaged over seeds in logarithms; it must not be the first or last."""
    means = losses.log().mean(dim=1).nan_to_num(nan=math.inf)
    best = int(means.argmin())
    assert 0 < best < len(means) - 1, f"the best of {means.exp().tolist()} is at the edge"
    return math.exp(float(means[best]))


@pytest.mark.thorough
def test_what_adam_gains_on_the_axes_is_gone_when_they_are_rotated() -> None:
    axes, rotated = ALL["axes"], ALL["rotated"]
    adam_lrs, momentum_lrs = (0.004, 0.02, 0.1, 0.3, 1.0), (0.15, 0.5, 1.5)
    momentum = [descend(data, torch.optim.SGD, momentum_lrs, 1000, momentum=0.9) for data in (axes, rotated)]
    adam = [descend(data, torch.optim.Adam, adam_lrs, 1000) for data in (axes, rotated)]
    # Momentum can't tell the two apart: the same losses, seed by seed.
    torch.testing.assert_close(momentum[0], momentum[1], rtol=1e-2, atol=0)
    gain, gain_rotated = (tuned(m) / tuned(a) for m, a in zip(momentum, adam, strict=True))
    assert gain > 1.7
    assert gain_rotated < 1.15


def test_rosenbrocks_valley_ranks_adam_momentum_sgd() -> None:
    data = ALL["rosenbrock"]
    adam = tuned(descend(data, torch.optim.Adam, (0.003, 0.02, 0.3), 500))
    momentum = tuned(descend(data, torch.optim.SGD, (0.001, 0.003, 0.01), 500, momentum=0.9))
    sgd = tuned(descend(data, torch.optim.SGD, (0.0005, 0.005, 0.05), 500))
    assert adam < momentum / 30 and momentum < sgd / 300


BAD = [
    ("axes", "num_dimensions", 1),
    ("axes", "noise", -0.1),
    ("axes", "condition", 0.5),
    ("axes", "rotation_seed", -1),
    ("rosenbrock", "num_dimensions", 1),
    ("rosenbrock", "noise", -0.1),
]


@pytest.mark.parametrize(("name", "key", "value"), BAD)
def test_a_bad_argument_names_its_key(name: str, key: str, value: float) -> None:
    make = make_rosenbrock if name == "rosenbrock" else make_quadratic
    with pytest.raises(DataError, match=rf"^data\.{key}: wants .* >= \d, got {value}$"):
        make(**{key: value})
