"""All that the next step of a run depends on, as tensors and plain values, and back into live parts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from bench.errors import Unsupported

# What torch's own Optimizer keeps: saved by its state_dict, or the same in every process.
_OWN = {"state", "param_groups", "defaults"}
_PLAIN = (bool, int, float, str, bytes, torch.dtype, torch.Size, type(None))


class Stateful(Protocol):
    """What an engine, or a member of one, has to save beside the model and the optimizer."""

    def state_dict(self) -> dict[str, Any]:
        """Return it; tensors are the live ones."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned."""


def collect(
    model: nn.Module, optimizer: torch.optim.Optimizer, engine: Stateful, device: str
) -> dict[str, Any]:
    """Return the state of a run between two steps; its tensors are the live ones.

    Args:
        model: Parameters, and all buffers.
        optimizer: Its state_dict, and what it keeps beside that in attributes of its own.
        engine: The average of the weights and the loss scaler, where there is one.
        device: Kind of device: its random stream belongs to the run, as the CPU's does.

    Raises:
        Unsupported: A part keeps something that could not be read back safely, or perhaps not at all.
    """
    kept = {name: value.detach() for name, value in model.named_buffers(remove_duplicate=False)}
    weights = dict(model.state_dict())
    saved = optimizer.state_dict()
    collected = {
        "weights": weights,
        # Those that a state_dict leaves out.
        "buffers": {name: value for name, value in kept.items() if name not in weights},
        "optimizer": saved,
        "attributes": _read_attributes(optimizer, {id(one) for one in _tensors(saved)}),
        "engine": engine.state_dict(),
        "streams": read_streams(device),
    }
    for name, part in collected.items():
        _check_plain(part, name)
    return collected


def restore(
    saved: dict[str, Any], model: nn.Module, optimizer: torch.optim.Optimizer, engine: Stateful, device: str
) -> None:
    """Make live parts, as they are before a run's first step, those of a later one.

    Args:
        saved: What `collect` returned, read back.
        model: In training mode.
        optimizer: Over its weights, in training mode.
        engine: Made before this call: it takes the peak lr from the optimizer.
        device: Kind of device.
    """
    model.load_state_dict(saved["weights"])
    buffers = dict(model.named_buffers(remove_duplicate=False))
    with torch.no_grad():
        for name, value in saved["buffers"].items():
            buffers[name].copy_(value)
    optimizer.load_state_dict(saved["optimizer"])
    _undo_casts(optimizer, saved["optimizer"])
    _write_attributes(optimizer, saved["attributes"])
    engine.load_state_dict(saved["engine"])
    # Last: whatever was drawn while the parts were made belongs to no run.
    write_streams(saved["streams"], device)


def _undo_casts(optimizer: torch.optim.Optimizer, saved: dict[str, Any]) -> None:
    """Give state the formats it had: what torch loads takes the format of the weight it belongs to."""
    if not {"state", "param_groups"} <= set(saved):
        return  # The optimizer saves in a way of its own, and loads in it.
    numbers = [number for group in saved["param_groups"] for number in group["params"]]
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    for number, weight in zip(numbers, weights, strict=True):
        if number in saved["state"]:
            optimizer.state[weight] = _as_saved(optimizer.state[weight], saved["state"][number])


def _as_saved(live: Any, saved: Any) -> Any:
    if isinstance(live, Tensor) and isinstance(saved, Tensor):
        return live if (live.dtype, live.device) == (saved.dtype, saved.device) else saved
    if isinstance(live, dict) and isinstance(saved, dict):
        for name in live.keys() & saved.keys():
            live[name] = _as_saved(live[name], saved[name])
    elif isinstance(live, list) and isinstance(saved, list):
        live[:] = [_as_saved(*pair) for pair in zip(live, saved, strict=True)]
    return live


def _read_attributes(optimizer: torch.optim.Optimizer, is_saved: set[int]) -> dict[str, Any]:
    """Return what an optimizer keeps beside its state_dict, by name.

    Args:
        optimizer: Any; an optimizer that it works through is looked into as well.
        is_saved: The tensors of its state_dict.

    Raises:
        Unsupported: There is something whose state can't be seen.
    """
    found: dict[str, Any] = {}
    weights = {id(weight) for group in optimizer.param_groups for weight in group["params"]}
    for name, value in vars(optimizer).items():
        place = f"{type(optimizer).__name__}.{name}"
        if name in _OWN or name.startswith("_optimizer_") or callable(value):
            continue
        if isinstance(value, torch.Generator):
            found[name] = {"stream": value.get_state()}
        elif inner := _list_optimizers(value):
            if any(id(one) not in is_saved | weights for half in inner for one in _tensors(dict(half.state))):
                raise Unsupported(_refuse(place, "state that state_dict() leaves out"))
            found[name] = {"inner": [_read_attributes(half, is_saved) for half in inner]}
        elif not any(id(one) in weights for one in _tensors(value)):
            # What holds the weights themselves is the same once they are.
            _check_plain(value, place)
            found[name] = {"value": value}
    return found


def _write_attributes(optimizer: torch.optim.Optimizer, saved: dict[str, Any]) -> None:
    for name, one in saved.items():
        if "stream" in one:
            getattr(optimizer, name).set_state(one["stream"])
        elif "inner" in one:
            for half, attributes in zip(
                _list_optimizers(getattr(optimizer, name)), one["inner"], strict=True
            ):
                _write_attributes(half, attributes)
        else:
            setattr(optimizer, name, one["value"])


def _list_optimizers(value: Any) -> list[torch.optim.Optimizer]:
    if isinstance(value, list | tuple):
        return [one for one in value if isinstance(one, torch.optim.Optimizer)]
    return [value] if isinstance(value, torch.optim.Optimizer) else []


def read_streams(device: str) -> dict[str, Tensor]:
    streams = {"cpu": torch.get_rng_state()}
    return streams if device == "cpu" else streams | {device: getattr(torch, device).get_rng_state()}


def write_streams(saved: dict[str, Tensor], device: str) -> None:
    torch.set_rng_state(saved["cpu"])
    if device != "cpu":
        getattr(torch, device).set_rng_state(saved[device])


def _tensors(tree: Any) -> Iterator[Tensor]:
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, dict):
        for one in tree.values():
            yield from _tensors(one)
    elif isinstance(tree, list | tuple):
        for one in tree:
            yield from _tensors(one)


def _check_plain(tree: Any, place: str) -> None:
    """Refuse what torch.load would not read with weights_only=True.

    Raises:
        Unsupported: Something is neither a tensor nor a plain value; the line names its place.
    """
    if type(tree) in (Tensor, nn.Parameter, *_PLAIN):
        return
    if type(tree) in (list, tuple):
        for one in tree:
            _check_plain(one, place)
    elif isinstance(tree, dict) and type(tree).__module__ in ("builtins", "collections"):
        for name, one in tree.items():
            _check_plain(name, place)
            _check_plain(one, f"{place}.{name}")
    else:
        raise Unsupported(_refuse(place, f"a {type(tree).__name__}"))


def _refuse(place: str, what: str) -> str:
    return f"no checkpoints: {place} holds {what}, which can't be saved; an ended run starts over"
