"""From what Hydra composed to frozen studies, read once and strictly: no Hydra object goes further."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig, OmegaConf

from bench import strict
from bench.errors import SpecError
from bench.kinds import Count, Positive
from bench.spec import Budget, Study

# Hydra 1.3 wants to be told which defaults it is used with; from 1.4 on it warns when it is told.
VERSION: dict[str, str] = {"version_base": "1.3"} if hydra.__version__.startswith("1.3.") else {}
# What a group's YAML may say beside the arguments of its `_target_`.
RESERVED = {
    "data": {"name", "version", "licence", "sha256", "item"},
    "model": {"name"},
    "optimizer": {"name", "lr", "weight_decay", "weight_decay_kind", "impl", "search", "groups"},
}


def config_folder() -> Path:
    """Return the folder of our YAML: inside the package in a wheel, beside it in a checkout."""
    package = Path(__file__).resolve().parent
    for folder in (package / "conf", package.parent / "conf"):
        if (folder / "config.yaml").is_file():
            return folder
    raise SpecError(f"conf: no config.yaml in {package} or beside it; the installation is incomplete")


def read_studies(config: DictConfig, workload: object) -> list[Study]:
    """Convert a composed configuration into frozen records: one study per horizon.

    Args:
        config: As Hydra composed it.
        workload: The chosen member of the group `workload`; what else Hydra chooses there is refused.

    Raises:
        SpecError: A value is missing, unknown, of the wrong type, or out of range.
    """
    if not isinstance(workload, str):
        raise SpecError("workload: wants the name of one, or several as a multirun: -m workload=A,B")
    plain = _plain(config)
    own = _compose_own(workload)
    if absent := set(own) - set(plain):
        raise SpecError(f"{min(absent)}: a study has one; it can be changed, not taken away")
    for group in RESERVED:
        plain[group] = _nest(plain[group], group)
    plain["is_workload_modified"] = any(
        plain[group] != (_nest(own[group], group) if group in RESERVED else own[group])
        for group in ("data", "model", "budget", "workload")
    )
    if not isinstance(plain["seeds"], dict):
        # An experiment file may say `seeds: 20`, like the command line.
        plain["seeds"] = own["seeds"] | {"num": plain["seeds"]}
    space = plain.get("search", {}).get("space", {})
    plain["search"]["space"] = dict(_flatten(space, ""))
    horizons = plain.pop("horizons")
    if horizons == []:
        raise SpecError("horizons: wants a number or a list of some, got []")
    try:
        studies: list[Study] = []
        for horizon in horizons if isinstance(horizons, list) else [horizons]:
            share: float = strict.read(horizon, Positive, "horizons")
            budget: Budget = strict.read(plain["budget"], Budget, "budget")
            steps = max(1, round(_hold(budget, plain["workload"]) * share))
            scaled = {"budget": plain["budget"] | {"steps": steps}, "horizon": share}
            studies.append(strict.read(plain | scaled, Study, ""))
        return studies
    except SpecError as error:
        # Records say `target` for what a YAML calls `_target_`.
        raise SpecError(re.sub(r"^(\w+)\.target:", r"\1._target_:", str(error))) from None


def _hold(budget: Budget, workload: Any) -> float:
    """Return the steps of a budget, rescaled where another batch size is to see as many items."""
    if budget.hold == "steps":
        return budget.steps
    own: int = strict.read(workload["batch_size"], Count, "workload.batch_size")
    return budget.steps * own / budget.batch_size


def _flatten(space: Any, place: str) -> Iterator[tuple[str, Any]]:
    """Yield the dimensions of a nested search space by dotted key: lists, or mappings with an interval."""
    if isinstance(space, list):
        yield place, {"choices": space}
    elif not isinstance(space, dict) or set(space) & {"low", "high", "choices"}:
        yield place, space
    else:
        for key, nested in space.items():
            yield from _flatten(nested, f"{place}.{key}" if place else key)


def _plain(config: DictConfig) -> dict[str, Any]:
    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    missing = sorted(OmegaConf.missing_keys(config))
    if missing:
        raise SpecError(f"{missing[0]}: missing, and there is no default: give {missing[0]}=...")
    return plain


def _nest(flat: Any, group: str) -> Any:
    """Move the arguments that stand flat beside `_target_` into `args`."""
    if not isinstance(flat, dict):
        raise SpecError(f"{group}: wants a group member or keys and values, got {flat!r}")
    reserved = RESERVED[group]
    nested = {key: value for key, value in flat.items() if key in reserved}
    nested["args"] = {key: value for key, value in flat.items() if key not in reserved and key != "_target_"}
    if "_target_" in flat:
        nested["target"] = flat["_target_"]
    return nested


@functools.cache
def _compose_own(workload: str) -> dict[str, Any]:
    """Return the configuration that a workload alone composes to, to compare with."""
    return _plain(hydra.compose("config", overrides=[f"workload={workload}"]))
