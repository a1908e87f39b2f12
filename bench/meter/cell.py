"""A run's live parts as an arm that takes steps, and the fixed step that every cell is timed beside."""

from __future__ import annotations

import msgspec
import torch
from torch import nn

from bench import build, precision
from bench.data.dataset import DataSet
from bench.effort import LrRange, OptimizerSearch
from bench.engine.eager import Eager
from bench.meter.interleave import Arm
from bench.prepare import prepare
from bench.spec import Compile, Optimizer, Precision, Recompute, Run, Schedule

# Any: so small that the weights stay near where they start, and the step costs the same.
_REFERENCE_LR = 1e-6


class Cell:
    """A run whose steps can be taken one after the other, over and over its schedule.

    Args:
        run: What to train.
        model: On the run's device, in the run's number format.
        optimizer: Over the model's parameters.
        data: On the run's device.
    """

    def __init__(self, run: Run, model: nn.Module, optimizer: torch.optim.Optimizer, data: DataSet) -> None:
        self.run = run
        self.model = model.train()
        self.optimizer = optimizer
        self.data = data
        self.engine = Eager(run, model, optimizer, data)
        self._num_taken = 0
        self.arm = self.make_arm()

    def make_arm(self) -> Arm:
        """Return an arm of these steps; several go on from one another."""
        return Arm(
            step=lambda _: self.step(),
            enter=lambda: precision.apply(self.run.precision, self.run.device, self.model),
        )

    def step(self) -> object:
        """Take the next step."""
        # The schedule has so many entries; a measurement may need more steps than that.
        position = self._num_taken % self.run.budget.steps
        self._num_taken += 1
        return self.engine.step(position)


def make_cell(run: Run) -> Cell:
    """Return a run as it trains.

    Raises:
        Unsupported: Model and data do not fit, or this machine can't do what is asked for.
        BuildError: A part refuses its arguments.
    """
    return Cell(run, *prepare(run))


def make_reference(run: Run, data: DataSet) -> Cell:
    """Return the reference of a run: another copy of its model, with nothing of the cell's own choices.

    Args:
        run: The cell.
        data: The cell's, which the reference shares; its order of rows is its own.
    """
    reference = reference_run(run)
    model = build.build_model(reference, data)
    precision.apply(reference.precision, reference.device, model)
    optimizer = build.build_optimizer(reference.optimizer, model)
    return Cell(reference, model, optimizer, data.to(torch.device(run.device)))


def reference_run(run: Run) -> Run:
    """Return the fixed step of a run's model, data, batch, device and threads.

    Plain SGD in the device's fused implementation, true fp32; nothing recomputed, compiled, clipped, averaged
    or computed in parts. Every cell of the model has the same one, so any two compare through it.
    """
    lr = LrRange(default=_REFERENCE_LR, low=_REFERENCE_LR, high=_REFERENCE_LR * 10, source="never searched")
    optimizer = Optimizer(
        target="torch.optim.SGD",
        name="reference",
        lr=_REFERENCE_LR,
        weight_decay=0.0,
        weight_decay_kind="l2",
        impl="fused",
        search=OptimizerSearch(lr=lr),
        args={"momentum": 0.0},
    )
    return msgspec.structs.replace(
        run,
        optimizer=optimizer,
        schedule=Schedule(name="constant", warmup=0.0, floor=0.0, interval="step"),
        precision=Precision(name="fp32"),
        recompute=Recompute(),
        compile=Compile(),
        budget=msgspec.structs.replace(run.budget, accumulate=1),
        clip_norm=None,
        ema=None,
    )
