"""From import paths and arguments to live objects: the only place that imports what a YAML names."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable
from typing import Any

import msgspec
import torch
from torch import nn

from bench import groups
from bench.arguments import bind, locate
from bench.data.dataset import DataSet
from bench.errors import BuildError, DataError, Unsupported
from bench.schedule import check_schedule
from bench.seeds import derive, seed_for
from bench.spec import Data, Model, Optimizer, Run

# What the builder supplies itself, by parameter name, when a model's signature asks for it.
_SHAPES = ("input_shape", "num_outputs")

_data_sets: dict[bytes, DataSet] = {}


def check(run: Run) -> None:
    """Resolve every import path of a run and check its arguments, so that nothing starts that can't.

    Raises:
        BuildError: A path or an argument is wrong; the line names the dotted key.
        SpecError: The schedule's fields don't go together.
    """
    check_schedule(run.schedule)
    _data_call(run.data)
    _model_call(run.model)
    _optimizer_call(run.optimizer)
    if set(run.optimizer.groups) - set(groups.KINDS):
        # A pattern is held against names of parameters, which only a model has.
        with contextlib.suppress(Unsupported):
            model = build_model(msgspec.structs.replace(run, device="cpu"), load_data(run.data, "cpu"))
            build_optimizer(run.optimizer, model)


def load_data(spec: Data, device: str) -> DataSet:
    """Return a data set on a device; decoded once per process.

    Raises:
        DataError: The decoded arrays are not the ones whose hash the YAML states.
    """
    # A set is the same one whether or not its hash is known beforehand.
    key = msgspec.json.encode(msgspec.structs.replace(spec, sha256=None))
    if key not in _data_sets:
        factory, arguments = _data_call(spec)
        data = factory(**arguments)
        if not isinstance(data, DataSet):
            raise BuildError(f"data._target_: {spec.target} made a {type(data).__name__}, wants a DataSet")
        _data_sets[key] = data
    data = _data_sets[key]
    if spec.sha256 is not None and data.sha256 != spec.sha256:
        raise DataError(
            f"data.sha256: {spec.name} decoded to {data.sha256}, the YAML names {spec.sha256}; "
            "data.sha256=null accepts it as it is"
        )
    return data.to(torch.device(device))


def build_model(run: Run, data: DataSet) -> nn.Module:
    """Return the model with its weights drawn from the run's seed, on the run's device.

    Raises:
        Unsupported: The model declares that it can't take this kind of input.
        BuildError: The path or its arguments are wrong.
    """
    cls, arguments = _model_call(run.model)
    kinds = getattr(cls, "input_kinds", None)
    if kinds is not None and data.input_kind not in kinds:
        raise Unsupported(
            f"does not fit: {run.model.name} takes {' or '.join(kinds)}, "
            f"{run.data.name} gives {data.input_kind}"
        )
    accepted = inspect.signature(cls).parameters
    for name in _SHAPES:
        if name in accepted and name not in arguments:
            arguments[name] = getattr(data, name)
    # Drawn on the CPU from a private stream: the same weights on every device, whatever ran before.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed_for(run.seed, run.vary, "init"), "init"))
        try:
            model = cls(**arguments)
        except (TypeError, ValueError) as error:
            raise BuildError(f"model: {run.model.target}: {error}") from error
    return model.to(run.device)


def build_optimizer(spec: Optimizer, model: nn.Module) -> torch.optim.Optimizer:
    """Return the optimizer over a model's trainable parameters, in groups where rules say so.

    Raises:
        BuildError: The class refuses its arguments, or a rule's pattern matches no parameter.
    """
    cls, arguments, rules = _optimizer_call(spec)
    parameters = groups.split(model, cls, rules)
    try:
        return cls(parameters, **arguments)
    except (TypeError, ValueError, RuntimeError) as error:
        raise BuildError(f"optimizer: {spec.target}: {error}") from error


def _data_call(spec: Data) -> tuple[Callable[..., Any], dict[str, Any]]:
    factory = locate(spec.target, "data._target_")
    if not callable(factory):
        raise BuildError(f"data._target_: wants a class or function, got {spec.target}")
    return factory, bind(factory, spec.args, "data", supplied=())


def _model_call(spec: Model) -> tuple[type[nn.Module], dict[str, Any]]:
    cls = locate(spec.target, "model._target_")
    if not (isinstance(cls, type) and issubclass(cls, nn.Module)):
        raise BuildError(f"model._target_: wants an nn.Module class, got {spec.target}")
    return cls, bind(cls, spec.args, "model", supplied=_SHAPES)


def _optimizer_call(spec: Optimizer) -> tuple[type[torch.optim.Optimizer], dict[str, Any], groups.Rules]:
    cls = locate(spec.target, "optimizer._target_")
    if not (isinstance(cls, type) and issubclass(cls, torch.optim.Optimizer)):
        raise BuildError(f"optimizer._target_: wants a torch.optim.Optimizer class, got {spec.target}")
    given = dict(spec.args)
    if spec.lr != "auto":
        given["lr"] = spec.lr
    if spec.weight_decay is not None:
        given["weight_decay"] = spec.weight_decay
    arguments = bind(cls, given, "optimizer", supplied=("params", "fused", "foreach"))
    accepted = inspect.signature(cls).parameters
    if spec.impl in ("fused", "foreach"):
        if spec.impl not in accepted:
            raise BuildError(f"optimizer.impl: {spec.target} has no {spec.impl} implementation")
        arguments[spec.impl] = True
    elif spec.impl == "forloop":
        arguments |= {flag: False for flag in ("fused", "foreach") if flag in accepted}
    return cls, arguments, groups.read_rules(cls, arguments, spec.groups)
