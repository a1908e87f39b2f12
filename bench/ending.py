"""How a run ended, in one line, and what that is beside the best of its arena so far."""

from __future__ import annotations

from typing import Literal

import msgspec

from bench.result import Result

Effect = Literal["log_ratio", "difference"]


class Standing:
    """Remembers the lowest loss of each arena and seed, which optimizers share their draws in."""

    def __init__(self) -> None:
        self._best: dict[bytes, float] = {}

    def place(self, result: Result, effect: Effect) -> str:
        """Return how far a finished run is from the best so far; empty where there is none to compare with.

        Args:
            result: How a run ended; one that did not finish stands nowhere.
            effect: The scale that its workload compares losses on.
        """
        loss = result.val_loss
        if loss is None or result.status != "finished":
            return ""
        run = msgspec.to_builtins(result.run)
        del run["optimizer"]
        key = msgspec.json.encode(run, order="sorted")
        best = self._best.get(key)
        self._best[key] = loss if best is None else min(best, loss)
        if best is None:
            return ""
        if loss <= best:
            return "best so far"
        is_ratio = effect == "log_ratio" and best > 0
        return f"{100 * (loss / best - 1):+.3g} % to best" if is_ratio else f"{loss - best:+.3g} to best"


def describe_end(result: Result, place: str) -> str:
    """Return what came of a run: its loss, where that stands, and the time; or why it has none.

    Args:
        result: How it ended.
        place: What `Standing.place` says of it.
    """
    if result.status != "finished":
        return f"{result.status}: {result.detail}"
    loss = "no loss" if result.val_loss is None else f"val loss {result.val_loss:.4g}"
    return "  ".join([loss, *([place] if place else []), f"{result.train_s:.1f} s"])
