"""What may help, as the settings that the next command should have."""

from __future__ import annotations

from typing import TypedDict

from bench.result import Result


class Remedy(TypedDict):
    """The last fields of a diagnosis."""

    advice: str
    overrides: dict[str, str]


def calm(result: Result) -> Remedy:
    advice = "The lr is too high" + " for a gradient without a bound" * (result.run.clip_norm is None)
    return {"advice": advice + ".", "overrides": scale_lr(result, 0.1) | bound(result)}


def bound(result: Result) -> dict[str, str]:
    return {"clip_norm": "1.0"} if result.run.clip_norm is None else {}


def widen_format(result: Result) -> dict[str, str]:
    return {"precision": "fp32"} if result.run.precision.name in ("fp16", "bf16_pure") else {}


def scale_lr(result: Result, factor: float) -> dict[str, str]:
    lr = result.run.optimizer.lr
    return {} if isinstance(lr, str) else {"optimizer.lr": f"{lr * factor:.2g}"}
