"""What a few cheap trainings tell before the dear one: does a model learn one batch, do labels matter."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from itertools import islice

import msgspec
import torch
from torch import Tensor, nn

from bench.data.dataset import DataSet, Inputs
from bench.forward import forward, read_outputs, sum_loss
from bench.prepare import prepare
from bench.soundness.finding import Finding
from bench.spec import Optimizer, Run

# A healthy model learns so few rows by heart in so many steps, at one of two lrs.
_NUM_ROWS, _NUM_STEPS, _LRS = 8, 150, (1e-3, 1e-2)
# Of what the best constant leaves, a model that works leaves less than this share.
_LEFT = 0.5
# How far the loss before training may be from that of outputs that are all 0, as a factor.
_APART = 2.0
# Items and steps of the probe that shuffles labels, and by what share true labels have to beat shuffled ones.
_NUM_SHUFFLED_ITEMS, _NUM_SHUFFLED_STEPS, _GAIN = 64, 100, 0.05
# Seconds that one probe may take.
_MAX_S = 20.0


def probe(run: Run) -> Iterator[Finding]:
    """Try a model on a little of its data.

    Args:
        run: On the CPU; its optimizer, schedule and seeds play no part: the probes have Adam.

    Yields:
        What is amiss; where a probe would take too long, a note that says so.

    Raises:
        Unsupported: Model and data do not fit, or the data is not there.

    Source: Karpathy 2019, "A Recipe for Training Neural Networks" (loss at init, overfit one batch); Zhang et
    al. 2017, arXiv:1611.03530 (random labels).
    """
    run = msgspec.structs.replace(run, optimizer=_adam(run.optimizer, _LRS[0]))
    model, _, data = prepare(run)
    if data.input_kind == "point":
        return
    batch = data.train_batch(0, 0, min(_NUM_ROWS, data.num_train_rows))
    before, outputs = _measure(model, data, batch)
    # The second time: the first one pays for what is made once.
    start = time.perf_counter()
    _measure(model, data, batch)
    step_s = 3 * (time.perf_counter() - start)
    yield from _judge_start(data, batch, before, outputs)
    if step_s * _NUM_STEPS * len(_LRS) > _MAX_S:
        text = f"one step takes about {step_s:.2g} s here"
        yield Finding("note", text, "no probe was trained; a smaller model or a GPU would allow it")
        return
    yield from _overfit(run, data, batch, outputs)
    yield from _shuffle(run, data, outputs)


def _judge_start(
    data: DataSet, batch: tuple[Inputs, Tensor], before: float, outputs: Tensor
) -> Iterator[Finding]:
    """Hold the loss before training against the one of outputs that are 0: ln C for C classes."""
    expected = _mean_loss(data, torch.zeros_like(outputs), batch[1])
    if not math.isfinite(before):
        yield Finding(
            "error", f"the loss before training is {before}", "look at the inputs and the first layer"
        )
    elif expected > 0 and not expected / _APART <= before <= expected * _APART:
        text = f"the loss before training is {before:.3g}, that of outputs that are 0 is {expected:.3g}"
        yield Finding("warning", text, "smaller initial weights in the last layer, or scaled inputs")


def _overfit(run: Run, data: DataSet, batch: tuple[Inputs, Tensor], outputs: Tensor) -> Iterator[Finding]:
    """Have a fresh model learn a few rows by heart: one that can't will learn nothing else either."""
    constant = _fit_constant(data, batch[1], outputs)
    lowest = _fit_freely(data, batch[1], outputs)
    least = math.inf
    for lr in _LRS:
        model, optimizer, _ = prepare(msgspec.structs.replace(run, optimizer=_adam(run.optimizer, lr)))
        _calm(model)
        for _ in range(_NUM_STEPS):
            _step(model, optimizer, data, batch)
        after, _ = _measure(model, data, batch)
        least = min(least, after if math.isfinite(after) else math.inf)
        if least - lowest <= _LEFT * (constant - lowest):
            return
    text = (
        f"{len(batch[1])} rows are not learned by heart in {_NUM_STEPS} steps of Adam: loss {least:.3g}, "
        f"{constant:.3g} without looking at the inputs"
    )
    advice = (
        "no gradient gets through, or the loss is of other targets: fewer layers, relu for sigmoid, a norm"
    )
    yield Finding("warning", text, advice)


def _shuffle(run: Run, data: DataSet, outputs: Tensor) -> Iterator[Finding]:
    """Train on the true targets and on the same in another order: true ones have to help validation."""
    validation = next(islice(data.val_batches("search"), 1))
    num_rows = max(_NUM_ROWS, _NUM_SHUFFLED_ITEMS // data.items_per_row)
    if data.num_train_rows < 2 * num_rows:
        return
    losses = []
    for is_shuffled in (False, True):
        model, optimizer, _ = prepare(run)
        _calm(model)
        start = time.perf_counter()
        for step in range(_NUM_SHUFFLED_STEPS):
            inputs, targets = data.train_batch(0, step, num_rows)
            # Never a row's own: by so many places further.
            _step(model, optimizer, data, (inputs, targets.roll(1 + step % 7, 0) if is_shuffled else targets))
            if time.perf_counter() - start > _MAX_S:
                text = f"{_NUM_SHUFFLED_STEPS} steps take more than {_MAX_S:.0f} s here"
                yield Finding("note", text, "whether labels matter was not tried")
                return
        losses.append(_measure(model, data, validation)[0])
    true, shuffled = losses
    if not true < shuffled - _GAIN * abs(shuffled):
        text = f"validation loss {true:.3g} with the true targets, {shuffled:.3g} with shuffled ones"
        advice = (
            "either the inputs tell nothing about the targets, or they belong to other rows: look at some"
        )
        yield Finding("warning", text, advice)


def _fit_constant(data: DataSet, targets: Tensor, outputs: Tensor) -> float:
    """Return the loss of the best output that is the same for every row."""
    return _fit(data, targets, outputs, torch.zeros_like(outputs[:1]).requires_grad_())


def _fit_freely(data: DataSet, targets: Tensor, outputs: Tensor) -> float:
    """Return the least loss that any outputs have: 0, or more where targets are shares."""
    return _fit(data, targets, outputs, torch.zeros_like(outputs).requires_grad_())


def _fit(data: DataSet, targets: Tensor, outputs: Tensor, free: Tensor) -> float:
    optimizer = torch.optim.Adam([free], lr=0.1)
    for _ in range(200):
        optimizer.zero_grad()
        loss = data.loss(free.expand_as(outputs), targets) / data.count_items(targets)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return _mean_loss(data, free.detach().expand_as(outputs), targets)


def _step(
    model: nn.Module, optimizer: torch.optim.Optimizer, data: DataSet, batch: tuple[Inputs, Tensor]
) -> None:
    optimizer.zero_grad()
    loss = sum_loss(data, forward(model, batch[0]), batch[1]) / data.count_items(batch[1])
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()


def _measure(model: nn.Module, data: DataSet, batch: tuple[Inputs, Tensor]) -> tuple[float, Tensor]:
    """Return a model's mean loss on a batch, and its outputs."""
    _calm(model)
    with torch.no_grad():
        outputs = forward(model, batch[0])
        loss = float(sum_loss(data, outputs, batch[1])) / data.count_items(batch[1])
        return loss, read_outputs(outputs).float()


def _calm(model: nn.Module) -> None:
    """Turn off what is drawn at random; batch norm goes by its batch, as it does before it has seen any."""
    model.eval()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.train()


def _mean_loss(data: DataSet, outputs: Tensor, targets: Tensor) -> float:
    with torch.no_grad():
        return float(data.loss(outputs, targets)) / data.count_items(targets)


def _adam(optimizer: Optimizer, lr: float) -> Optimizer:
    return Optimizer(target="torch.optim.Adam", name="adam", lr=lr, search=optimizer.search)
