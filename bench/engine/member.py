"""One run among those that a population trains: live parts of its own, as they would be were it alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from bench.average import Average
from bench.engine import state
from bench.prepare import prepare, set_mode
from bench.schedule import lr_factors
from bench.seeds import seed_for
from bench.spec import Run


class Member:
    """A run's model and optimizer as they would be alone; whoever looks at them sees the newest step.

    Args:
        run: What to train; its lr is the schedule's peak.

    Raises:
        Unsupported, BuildError: As `prepare`.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.model, self.optimizer, self.data = model, optimizer, data = prepare(run)
        self.average = None if run.ema is None else Average(model, run.ema)
        self.order_seed = seed_for(run.seed, run.vary, "order")
        self.dropout_seed = seed_for(run.seed, run.vary, "dropout")
        num_rows = min(run.budget.batch_size, data.num_train_rows)
        factors = lr_factors(run.schedule, run.budget.steps, data.num_train_rows // num_rows)
        # By group, then by step; as the eager engine has it.
        self.lrs = [[group["lr"] * factor for factor in factors] for group in optimizer.param_groups]
        self._streams = state.read_streams(run.device)

    @contextmanager
    def streams(self) -> Iterator[None]:
        """Let torch's random streams be this run's, as they would be were it alone."""
        others = state.read_streams(self.run.device)
        state.write_streams(self._streams, self.run.device)
        try:
            yield
        finally:
            self._streams = state.read_streams(self.run.device)
            state.write_streams(others, self.run.device)

    def collect(self) -> dict[str, Any]:
        """Return the run's state between two steps, as the eager engine saves it; copies, not views.

        Raises:
            Unsupported: A part keeps something that could not be read back.
        """
        with self.streams():
            collected = state.collect(self.model, self.optimizer, self, self.run.device)
        # A view would be saved with the whole stack behind it.
        copied: dict[str, Any] = _copy(collected)
        return copied

    def restore(self, saved: dict[str, Any]) -> None:
        """Continue from what `collect` returned; wants a member as it was made."""
        # An optimizer that makes something of a change of mode does so before its state comes back.
        set_mode(self.model, self.optimizer, is_training=True)
        with self.streams():
            state.restore(saved, self.model, self.optimizer, self, self.run.device)

    def state_dict(self) -> dict[str, Any]:
        """Return what an eager engine would of itself; no loss is scaled here."""
        return {"average": None if self.average is None else self.average.state_dict(), "scaler": None}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        if self.average is not None:
            self.average.load_state_dict(saved["average"])


def _copy(tree: Any) -> Any:
    if isinstance(tree, torch.Tensor):
        return tree.detach().clone()
    if isinstance(tree, dict):
        return type(tree)((name, _copy(value)) for name, value in tree.items())
    if isinstance(tree, list | tuple):
        return type(tree)(_copy(value) for value in tree)
    return tree
