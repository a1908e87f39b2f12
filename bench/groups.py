"""Which kind a parameter is, and rules by kind or name that give a group of parameters options of its own."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

from bench import strict
from bench.arguments import bind
from bench.errors import BuildError, SpecError, nearest
from bench.kinds import NonNegative

KINDS = ("vectors", "embeddings", "head", "matrices")
# Multiplies the group's lr, scheduled or not: our own word among the options of the class.
LR_SCALE = "lr_scale"
# What the builder sets for the whole optimizer.
FLAGS = ("params", "fused", "foreach")

Rules = dict[str, dict[str, Any]]


def name_kinds(model: nn.Module) -> dict[str, str]:
    """Return the kind of every parameter, by name, in the order of `model.parameters()`.

    `vectors` have fewer than two dimensions, or are a layer norm's: biases, norms. `embeddings` are weights
    of nn.Embedding, under whatever second name they are used (a tied head), and parameters that a module
    holds under a name of its own with "embed" in it, such as position_embedding. `head` is the weight of the
    last nn.Linear in the order of the modules, an attention's own projection aside, or of the last
    convolution in a model without one. Everything else is `matrices`: hidden layers, kernels too.
    """
    special: dict[int, str] = {}
    heads: list[nn.Module] = []
    for module in model.modules():
        if isinstance(module, nn.Embedding | nn.EmbeddingBag):
            special[id(module.weight)] = "embeddings"
        elif isinstance(module, nn.LayerNorm | nn.RMSNorm):
            special |= {id(parameter): "vectors" for parameter in module.parameters(recurse=False)}
        elif isinstance(module, nn.Linear) and type(module).__name__ != "NonDynamicallyQuantizableLinear":
            heads.append(module)
    convolutions = nn.Conv1d | nn.Conv2d | nn.Conv3d
    heads = heads or [module for module in model.modules() if isinstance(module, convolutions)]
    if heads:
        special.setdefault(id(heads[-1].weight), "head")
    return {name: _name_kind(name, parameter, special) for name, parameter in model.named_parameters()}


def read_rules(
    cls: type[torch.optim.Optimizer], arguments: Mapping[str, Any], given: Mapping[str, Any]
) -> Rules:
    """Check rules against what a class takes for a group of its own, and convert their values.

    Args:
        cls: The optimizer.
        arguments: Its converted arguments, which hold where a rule says nothing.
        given: Kind of parameter, or fnmatch pattern of parameter names -> options, as a YAML has them.

    Returns:
        The same keys in the same order, `lr_scale` worked into `lr`.

    Raises:
        BuildError: An option is unknown, or its value of the wrong type or range; with the nearest name.
    """
    rules: Rules = {}
    for key, options in given.items():
        place = f"optimizer.groups.{key}"
        if not isinstance(options, Mapping) or not options:
            raise BuildError(f"{place}: wants one or more options by name, got {options!r}")
        own = {name: value for name, value in options.items() if name != LR_SCALE}
        kinds = (key,) if key in KINDS else KINDS
        known = [name for kind in kinds for name in _take_options(cls, arguments, kind, place)]
        for name in own:
            if name not in known:
                raise BuildError(f"{place}.{name}: no such option{nearest(name, [*known, LR_SCALE])}")
        flags = {name: arguments[name] for name in FLAGS if name in arguments}
        merged = {name: value for name, value in arguments.items() if name not in flags} | own
        taken: dict[str, Any] = {}
        for kind in kinds:
            taken |= _take_options(cls, bind(cls, merged, place, supplied=FLAGS) | flags, kind, place)
        rules[key] = {name: taken[name] for name in own}
        if LR_SCALE in options:
            if "lr" in own:
                raise BuildError(f"{place}: wants lr or {LR_SCALE}, got both")
            try:
                scale: float = strict.read(options[LR_SCALE], NonNegative, f"{place}.{LR_SCALE}")
            except SpecError as error:
                raise BuildError(str(error)) from None
            rules[key]["lr"] = taken["lr"] * scale
    return rules


def split(model: nn.Module, cls: type[torch.optim.Optimizer], rules: Rules) -> list[Any]:
    """Return a model's trained parameters as an optimizer wants them.

    A parameter falls under the first pattern that matches one of its names, else under the rule for its kind,
    else under none. A class that says `parameter_kinds = True` gets each kind in groups of its own, under the
    key `kind`; an option that only some kinds know then reaches those.

    Args:
        model: Weights that are tied count once.
        cls: The optimizer.
        rules: As `read_rules` returns them.

    Returns:
        Without rules, the parameters in the model's order: one group, as without this file. Else groups, in
        the order of their first parameter.

    Raises:
        BuildError: A pattern matches no trained parameter; with the nearest name.
    """
    is_by_kind = getattr(cls, "parameter_kinds", False)
    if not rules and not is_by_kind:
        return [parameter for parameter in model.parameters() if parameter.requires_grad]
    patterns = [key for key in rules if key not in KINDS]
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if parameter.requires_grad:
            names.setdefault(id(parameter), []).append(name)
    kinds = name_kinds(model)
    groups: dict[tuple[str | None, str | None], list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        if id(parameter) in names:
            kind = kinds[name]
            matching = (key for key in patterns if _matches(names[id(parameter)], key))
            rule = next(matching, kind if kind in rules else None)
            groups.setdefault((kind if is_by_kind else None, rule), []).append(parameter)
    ruling = {rule for _, rule in groups}
    for pattern in patterns:
        if pattern not in ruling:
            every = [name for own in names.values() for name in own]
            reason = "matches no trained parameter" + nearest(pattern, [*KINDS, *every])
            if _matches(every, pattern):
                reason = "patterns before it take all it matches"
            raise BuildError(f"optimizer.groups.{pattern}: {reason}")
    return [
        {"params": parameters, **({"kind": kind} if is_by_kind else {}), **rules.get(str(rule), {})}
        for (kind, rule), parameters in groups.items()
    ]


def _name_kind(name: str, parameter: Tensor, special: Mapping[int, str]) -> str:
    if parameter.ndim < 2:
        return "vectors"
    if "embed" in name.rpartition(".")[2].lower():
        return "embeddings"
    return special.get(id(parameter), "matrices")


def _matches(names: list[str], pattern: str) -> bool:
    return any(fnmatchcase(name, pattern) for name in names)


def _take_options(
    cls: type[torch.optim.Optimizer], arguments: Mapping[str, Any], kind: str, place: str
) -> dict[str, Any]:
    """Return what a group of the class may say, as the class itself reads it from arguments."""
    group: dict[str, Any] = {"params": [nn.Parameter(torch.zeros(1, 1))]}
    if getattr(cls, "parameter_kinds", False):
        group["kind"] = kind
    try:
        taken: dict[str, Any] = cls([group], **arguments).param_groups[0]
    except (TypeError, ValueError, RuntimeError) as error:
        raise BuildError(f"{place}: {error}") from error
    accepted = inspect.signature(cls).parameters
    return {name: taken[name] for name in accepted if name in taken and name not in FLAGS}
