"""The only training loop: it asks an engine for steps, evaluates on schedule, knows no optimizer by name."""

from __future__ import annotations

import datetime
import math
import time
import traceback
from typing import Any

import torch
from torch import Tensor, nn

from bench import build, compiling, precision, recompute
from bench.cost import Formats
from bench.data.dataset import DataSet
from bench.engine.eager import Eager
from bench.errors import Unsupported
from bench.forward import read_outputs, widen
from bench.identity import run_id
from bench.kinds import SCHEMA
from bench.optimizer.faults import check_update
from bench.result import Curve, Machine, Result, Status
from bench.seeds import derive, seed_for
from bench.spec import Run
from bench.validate import validate


def train(run: Run, machine: Machine) -> tuple[Result, dict[str, bytes]]:
    """Train one run to its end, whatever that is.

    Args:
        run: What to train.
        machine: Recorded beside the numbers.

    Returns:
        The result, and files to keep beside it by name. A failure is a status, never an exception:
        `diverged`, `oom`, `unsupported`, `failed` (with the traceback as a file).
    """
    progress = _Progress(run)
    files: dict[str, bytes] = {}
    try:
        status, detail = progress.follow()
        if status == "finished" and run.seed == 0:
            # One picture a cell is enough to look at; numbers come from every seed.
            files = progress.draw()
    except torch.OutOfMemoryError as error:
        status, detail = "oom", _first_line(error)
    except Unsupported as error:
        status, detail = "unsupported", str(error)
    except Exception as error:
        status, detail = "failed", f"{type(error).__name__}: {_first_line(error)}"
        files = {"traceback.txt": traceback.format_exc().encode()}
    return progress.conclude(status, detail, machine, tuple(files)), files


def conclude_killed(run: Run, machine: Machine) -> Result:
    """Return the record of a run whose process was ended from outside, or ended itself."""
    return _Progress(run).conclude("killed", "its process ended before the run did", machine, ())


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


def evaluation_steps(num_steps: int, num_evaluations: int) -> list[int]:
    """Return the steps after which a run is evaluated: evenly spread, the last one at its end."""
    wanted = (round(num_steps * k / num_evaluations) for k in range(1, num_evaluations + 1))
    return sorted({step for step in wanted if step > 0})


class _Progress:
    """A run under way: its curve so far, and both clocks."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.started_at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self.steps: list[int] = []
        self.train_losses: list[float | None] = []
        self.val_losses: list[float | None] = []
        self.elapsed_s: list[float] = []
        self.val_metrics: list[dict[str, float]] = []
        self.train_s = 0.0
        self.eval_s = 0.0
        self.num_steps = 0
        self.search_loss: float | None = None
        self.diverged_step: int | None = None
        self.num_params = 0
        self.num_train_items = 0
        self.formats: Formats | None = None
        self.num_skipped_steps = 0

    def follow(self) -> tuple[Status, str | None]:
        """Train to the last step, or to the first window that holds a non-finite loss."""
        run = self.run
        self.model, self.optimizer, self.data = prepare(run)
        self.num_params = sum(parameter.numel() for parameter in self.model.parameters())
        engine = Eager(run, self.model, self.optimizer, self.data)
        self.engine = engine
        self.evaluate(None)
        for end in evaluation_steps(run.budget.steps, run.budget.evaluations):
            start = time.perf_counter()
            losses = [engine.step(step) for step in range(self.num_steps, end)]
            # The window's one synchronisation: the clock stops here, evaluation is not training time.
            window = torch.stack(losses).tolist()
            self.train_s += time.perf_counter() - start
            self.formats = self.formats or engine.read_formats()
            self.num_skipped_steps = engine.count_skipped()
            self.num_train_items += len(window) * engine.num_step_items
            for offset, loss in enumerate(window):
                if not math.isfinite(loss):
                    self.diverged_step = self.num_steps + offset
                    self.num_steps = self.diverged_step + 1
                    return "diverged", f"training loss was {loss} at step {self.diverged_step}"
            self.num_steps = end
            if not self.evaluate(math.fsum(window) / len(window)):
                self.diverged_step = end
                return "diverged", f"validation loss was not finite after step {end}"
        _set_mode(self.model, self.optimizer, is_training=False)
        self.search_loss = validate(self.engine.evaluated, self.data, "search", self.engine.call)[0]
        return "finished", None

    def evaluate(self, train_loss: float | None) -> bool:
        """Add a point to the curve; return whether the validation loss is finite."""
        start = time.perf_counter()
        _set_mode(self.model, self.optimizer, is_training=False)
        loss, metrics = validate(self.engine.evaluated, self.data, "report", self.engine.call)
        _set_mode(self.model, self.optimizer, is_training=True)
        is_finite = math.isfinite(loss)
        self.steps.append(self.num_steps)
        self.train_losses.append(train_loss)
        self.val_losses.append(loss if is_finite else None)
        self.elapsed_s.append(self.train_s)
        self.val_metrics.append({name: value for name, value in metrics.items() if math.isfinite(value)})
        self.eval_s += time.perf_counter() - start
        return is_finite

    def draw(self) -> dict[str, bytes]:
        """Return the files the data makes of a trained model."""
        _set_mode(self.model, self.optimizer, is_training=False)

        def predict(inputs: Tensor) -> Tensor:
            with torch.no_grad():
                return widen(read_outputs(self.engine.call(self.engine.evaluated, inputs)))

        return self.data.artifacts(predict)

    def conclude(
        self, status: Status, detail: str | None, machine: Machine, artifacts: tuple[str, ...]
    ) -> Result:
        """Return the record of how it ended."""
        is_finished = status == "finished"
        known = [loss for loss in self.val_losses if loss is not None]
        names = sorted({name for metrics in self.val_metrics for name in metrics})
        return Result(
            schema=SCHEMA,
            id=run_id(self.run),
            run=self.run,
            status=status,
            detail=detail,
            val_loss=self.val_losses[-1] if is_finished else None,
            search_loss=self.search_loss if is_finished else None,
            val_loss_best=min(known, default=None),
            train_loss=self.train_losses[-1] if is_finished else None,
            val_metrics=self.val_metrics[-1] if is_finished else {},
            curve=Curve(
                step=tuple(self.steps),
                train_loss=tuple(self.train_losses),
                val_loss=tuple(self.val_losses),
                elapsed_s=tuple(self.elapsed_s),
                val_metrics={name: tuple(m.get(name) for m in self.val_metrics) for name in names},
            ),
            num_steps=self.num_steps,
            diverged_step=self.diverged_step,
            num_params=self.num_params,
            num_train_items=self.num_train_items,
            train_s=self.train_s,
            eval_s=self.eval_s,
            engine=Eager.name,
            formats=self.formats,
            num_skipped_steps=self.num_skipped_steps,
            machine=machine,
            artifacts=artifacts,
            started_at=self.started_at,
        )


def _set_mode(model: nn.Module, optimizer: Any, *, is_training: bool) -> None:
    model.train(is_training)
    # Schedule-free optimizers evaluate at other weights than they train.
    switch = getattr(optimizer, "train" if is_training else "eval", None)
    if callable(switch):
        switch()


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or ["no message"])[0][:300]
