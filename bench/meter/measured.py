"""One cell's real step, taken here to see how much memory it needs: what a prediction is held against."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

from bench.engine.eager import Eager
from bench.meter.fake import without_onednn
from bench.meter.memory import PeakSource, measure_peak, resident
from bench.meter.predict import COUNTED_STEP
from bench.prepare import prepare
from bench.spec import Run


def measure_cell(run: Run) -> tuple[int, PeakSource]:
    """Measure the peak of one steady step on the run's own device.

    On a CPU the step of an RNN is taken without oneDNN, as it is in a prediction.

    Args:
        run: The cell.

    Returns:
        Peak in bytes, and where it was read.

    Raises:
        Unsupported: Model and data do not fit, or the device can't tell.
        BuildError: A part refuses its arguments.
    """
    model, optimizer, data = prepare(run)
    model.train()
    engine = Eager(run, model, optimizer, data)
    # The last of them is the one that is measured, and the one that is predicted.
    positions = iter([step % run.budget.steps for step in (0, 1, *[COUNTED_STEP] * 8)])

    def list_held() -> Iterator[Tensor]:
        yield from resident(model, optimizer)
        yield from engine.list_held()

    has_rnn = any(isinstance(module, nn.RNNBase) for module in model.modules())
    with without_onednn(has_rnn and run.device == "cpu"):
        engine.step(next(positions))
        return measure_peak(lambda: engine.step(next(positions)), list_held(), run.device)
