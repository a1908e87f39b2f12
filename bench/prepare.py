"""A run's live parts as its first step finds them: what trains and what is metered is made in one place."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from bench import build, compiling, precision, recompute
from bench.data.dataset import DataSet
from bench.optimizer.faults import check_update
from bench.seeds import derive, seed_for
from bench.spec import Run


def prepare(run: Run) -> tuple[nn.Module, torch.optim.Optimizer, DataSet]:
    """Return a run's live parts, in the number formats and with the threads it asks for.

    Raises:
        Unsupported: Model and data do not fit, or this machine can't do what is asked for.
        BuildError: A part refuses its arguments.
    """
    precision.check(run.precision, run.device)
    compiling.check(run)
    torch.set_num_threads(run.threads)
    data = build.load_data(run.data, run.device)
    model = precision.cast(build.build_model(run, data), run.precision)
    precision.apply(run.precision, run.device, model)
    recompute.apply(model, run.recompute, run.model.name)
    compiling.begin(run)
    optimizer = build.build_optimizer(run.optimizer, model)
    check_update(optimizer)
    # Our own layers draw from counters; a foreign nn.Dropout draws from this stream.
    torch.manual_seed(derive(seed_for(run.seed, run.vary, "dropout"), "foreign"))
    return model, optimizer, data


def set_mode(model: nn.Module, optimizer: Any, *, is_training: bool) -> None:
    """Switch a model, and an optimizer that has modes, to training or to evaluation."""
    model.train(is_training)
    set_optimizer_mode(optimizer, is_training=is_training)


def set_optimizer_mode(optimizer: Any, *, is_training: bool) -> None:
    """Switch an optimizer that has modes to training or to evaluation."""
    # Schedule-free optimizers evaluate at other weights than they train.
    switch = getattr(optimizer, "train" if is_training else "eval", None)
    if callable(switch):
        switch()
