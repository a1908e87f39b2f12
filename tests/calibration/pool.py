"""A pool of real runs, made once and kept: what calibration is replayed on, without training anything again.

`python -m tests.calibration.pool` makes it anew (about six minutes on one CPU core).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import msgspec

from bench.spec import Run
from bench.train import train
from tests.composing import compose_run
from tests.sweeps import make_machine

POOL = Path(__file__).with_name("pool.json")
WORKLOADS = ("digits_mlp", "gaussian_mlp")
OPTIMIZERS = ("adam", "sgd")
NUM_SEEDS = 60
# Half-decades from the declared default: one more on either side than the default search has.
OFFSETS = range(-5, 6)

# Workload -> optimizer -> half-decades from the default lr -> search and report loss by seed.
Losses = dict[str, list[tuple[float | None, float | None]]]
Pool = dict[str, dict[str, Losses]]


def load_pool() -> Pool:
    """Return the committed pool."""
    pool: Pool = json.loads(POOL.read_text())
    return pool


def measure(workload: str, optimizer: str, offsets: Sequence[int], seeds: Sequence[int]) -> Losses:
    """Return the losses of real runs.

    Args:
        workload: Its name.
        optimizer: Its name.
        offsets: Half-decades from the optimizer's declared default lr.
        seeds: One run each at every lr.
    """
    base = compose_run(f"optimizer={optimizer}", workload=workload)
    return {str(offset): [_lose(_vary(base, offset, seed)) for seed in seeds] for offset in offsets}


def _vary(base: Run, offset: int, seed: int) -> Run:
    lr = base.optimizer.search.lr.default * 10 ** (offset / 2)
    # Evaluations move no number, only the clock.
    return msgspec.structs.replace(
        base,
        seed=seed,
        optimizer=msgspec.structs.replace(base.optimizer, lr=lr),
        budget=msgspec.structs.replace(base.budget, evaluations=1),
    )


def _lose(run: Run) -> tuple[float | None, float | None]:
    result, _ = train(run, make_machine())
    if result.search_loss is None or result.val_loss is None:
        assert result.status == "diverged", result.detail
        return None, None
    return _shorten(result.search_loss), _shorten(result.val_loss)


def _shorten(value: float) -> float:
    """Return six digits: more would only make the file longer."""
    assert math.isfinite(value), value
    return float(f"{value:.6g}")


if __name__ == "__main__":
    pool: Pool = {
        workload: {name: measure(workload, name, OFFSETS, range(NUM_SEEDS)) for name in OPTIMIZERS}
        for workload in WORKLOADS
    }
    text = json.dumps(pool, separators=(",", ":"))
    # A line per lr, so that a change shows where it is.
    POOL.write_text(text.replace("]],", "]],\n") + "\n")
