"""The next setting as a function of those before it and nothing else, so that a lost search can be redone."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial

from bench.effort import Dimension
from bench.search.space import Params, Space, Value, round_digits
from bench.seeds import derive

# Settings before a model is fitted: with Optuna's own 10 a search of 8 to 20 would have little to adapt.
STARTUP_TRIALS = 5
# Samplers whose next setting depends on what came of the earlier ones.
ADAPTIVE = ("tpe", "gp")
# How a key is called whose distance from 1 is varied.
_COMPLEMENT = "1 - "


def propose(
    sampler: str, space: Space, default: Params, number: int, history: Sequence[FrozenTrial]
) -> Params:
    """Return the setting of a number.

    Args:
        sampler: qmc, random, tpe or gp.
        space: What is varied.
        default: The declared setting, which is number 0 of every sampler.
        number: Position in the search; the random numbers follow from it.
        history: Other settings in their order, told or still running; those outside the space are left out.
    """
    if number == 0 or not space:
        return dict(default)
    distributions = _distributions(space, default)
    if sampler == "qmc":
        return _quasi_random(space, distributions, number)
    seed = derive(0, "search", number) % 2**32
    with warnings.catch_warnings():
        # What is experimental in a sampler, and that a Gaussian process clips inf: both are meant here.
        warnings.simplefilter("ignore")
        study = optuna.create_study(sampler=_make_sampler(sampler, seed))
        for trial in history:
            if _is_inside(trial, distributions):
                study.add_trial(
                    optuna.create_trial(
                        state=trial.state,
                        value=trial.value,
                        params=trial.params,
                        distributions=distributions,
                    )
                )
        asked = study.ask(fixed_distributions=distributions).params
    return decode(space, {name: _rounded(value, distributions[name]) for name, value in asked.items()})


def encode(space: Space, default: Params, params: Params) -> tuple[Params, dict[str, BaseDistribution]]:
    """Return a setting as a trial keeps it, and what each value was taken from."""
    stored: Params = {}
    for key, value in params.items():
        if _is_distance(space[key]):
            low, high = space[key].low or 0.0, space[key].high or 0.0
            stored[_COMPLEMENT + key] = min(max(round_digits(1 - float(value)), low), high)
        else:
            stored[key] = value
    return stored, _distributions(space, default)


def decode(space: Space, stored: Params) -> Params:
    """Return a setting by dotted key from a trial's parameters, which hold a beta as its distance from 1."""
    return {
        key: round_digits(1 - float(stored[_COMPLEMENT + key])) if _is_distance(dimension) else stored[key]
        for key, dimension in space.items()
    }


def _make_sampler(name: str, seed: int) -> optuna.samplers.BaseSampler:
    match name:
        case "tpe":
            return optuna.samplers.TPESampler(
                n_startup_trials=STARTUP_TRIALS, multivariate=True, constant_liar=True, seed=seed
            )
        case "gp":
            return optuna.samplers.GPSampler(n_startup_trials=STARTUP_TRIALS, seed=seed)
        case _:
            return optuna.samplers.RandomSampler(seed=seed)


def _quasi_random(space: Space, distributions: dict[str, BaseDistribution], number: int) -> Params:
    # Optuna's QMCSampler counts in the storage, which a lost or shared search would restart or skip.
    # It takes a second to import, which few sweeps need.
    from scipy.stats import qmc

    points = qmc.Sobol(len(distributions), scramble=True, seed=derive(0, "search", 0) % 2**32)
    if number > 1:
        points.fast_forward(number - 1)
    shares = points.random(1)[0]
    stored = {}
    for (name, distribution), share in zip(distributions.items(), map(float, shares), strict=True):
        stored[name] = _rounded(_at_share(distribution, share), distribution)
    return decode(space, stored)


def _at_share(distribution: BaseDistribution, share: float) -> Value:
    if isinstance(distribution, CategoricalDistribution):
        return _choices(distribution)[int(share * len(distribution.choices))]
    assert isinstance(distribution, FloatDistribution | IntDistribution), distribution
    low, high = distribution.low, distribution.high
    if isinstance(distribution, IntDistribution):
        # Each whole number is as wide as the next.
        high += 1
    value = low * (high / low) ** share if distribution.log else low + (high - low) * share
    return min(math.floor(value), distribution.high) if isinstance(distribution, IntDistribution) else value


def _rounded(value: Value, distribution: BaseDistribution) -> Value:
    if not isinstance(distribution, FloatDistribution):
        return value
    return min(max(round_digits(float(value)), distribution.low), distribution.high)


def _distributions(space: Space, default: Params) -> dict[str, BaseDistribution]:
    return {
        _COMPLEMENT + key if _is_distance(dimension) else key: _distribution(dimension, default[key])
        for key, dimension in space.items()
    }


def _distribution(dimension: Dimension, default: Value) -> BaseDistribution:
    if dimension.choices is not None:
        return CategoricalDistribution(dimension.choices)
    low, high = dimension.low or 0.0, dimension.high or 0.0
    if isinstance(default, int) and not isinstance(default, bool):
        return IntDistribution(int(low), int(high), log=dimension.log)
    return FloatDistribution(low, high, log=dimension.log)


def _is_distance(dimension: Dimension) -> bool:
    return dimension.is_complement and dimension.choices is None


def _is_inside(trial: FrozenTrial, distributions: dict[str, BaseDistribution]) -> bool:
    """Return whether a trial's setting could be proposed: an earlier widening may have left the space."""
    for name, distribution in distributions.items():
        value = trial.params.get(name)
        if isinstance(distribution, CategoricalDistribution):
            if value not in distribution.choices:
                return False
        elif isinstance(distribution, FloatDistribution | IntDistribution) and (
            value is None or not distribution.low <= value <= distribution.high
        ):
            return False
    return trial.params.keys() == distributions.keys()


def _choices(distribution: CategoricalDistribution) -> list[Value]:
    return [choice for choice in distribution.choices if choice is not None]
