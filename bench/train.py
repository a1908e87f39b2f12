"""The only training loop: it asks an engine for steps, evaluates on schedule, knows no optimizer by name."""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from bench.cause import explain
from bench.checkpoint import Checkpoints
from bench.engine import parallel, state
from bench.engine.eager import Eager
from bench.errors import Unsupported
from bench.forward import read_outputs, widen
from bench.identity import run_id
from bench.prepare import prepare, set_mode
from bench.result import Machine, Result, Status
from bench.spec import Run
from bench.tally import Tally, evaluation_steps
from bench.validate import validate


def train(
    run: Run,
    machine: Machine,
    keep: Checkpoints | None = None,
    should_stop: Callable[[], bool] | None = None,
    tell: Callable[[int, float], None] | None = None,
) -> tuple[Result, dict[str, bytes]]:
    """Train one run to its end, whatever that is.

    Args:
        run: What to train.
        machine: Recorded beside the numbers.
        keep: Where it saves its state from time to time, and goes on from; its numbers are those of a run
            that was never disturbed, times apart. Who publishes a settled result calls `keep.remove()`.
        should_stop: Asked after each step; once it says yes the state is saved, and the run ends as
            `interrupted`.
        tell: Called at each evaluation with the steps taken and the validation loss.

    Returns:
        The result, and files to keep beside it by name. A failure is a status, never an exception:
        `diverged`, `oom`, `unsupported`, `interrupted`, `failed` (with the traceback as a file).
    """
    training = _Training(run, machine, keep, should_stop, tell)
    files: dict[str, bytes] = {}
    try:
        training.team = parallel.find_team(run)
        status, detail = training.follow()
        if status == "finished" and run.seed == 0:
            # One picture a cell is enough to look at; numbers come from every seed.
            files = training.draw()
    except Exception as error:
        lost = None if training.team is None else training.team.explain(error)
        status, detail = lost or explain(error)
        files = {} if status == "unsupported" else {"traceback.txt": traceback.format_exc().encode()}
        if status == "unsupported":
            # This process goes on with the next run, and the others do so anew.
            parallel.abandon()
    notes = () if keep is None else tuple(keep.notes)
    result = training.tally.conclude(
        run, status, detail, machine, engine=Eager.name, artifacts=tuple(files), notes=notes
    )
    return result, files


def train_along(run: Run, machine: Machine, team: parallel.Team) -> None:
    """Train a process's share of a run; what comes of the run is rank 0's to say."""
    training = _Training(run, machine, team=team)
    try:
        training.follow()
    except Exception as error:
        team.report(*explain(error))
        raise


@dataclass
class _Training:
    """A run under way: its live parts, and what is known of it so far."""

    run: Run
    machine: Machine
    keep: Checkpoints | None = None
    should_stop: Callable[[], bool] | None = None
    tell: Callable[[int, float], None] | None = None
    team: parallel.Team | None = None
    tally: Tally = field(default_factory=Tally)

    @property
    def owner(self) -> dict[str, str | int]:
        """What has to be the same for a saved state to go on with the same bits."""
        versions: dict[str, str | int] = {"torch": str(torch.__version__), "bench": self.machine.bench}
        return versions | {
            "run": run_id(self.run), "device": self.machine.device_name, "threads": self.run.threads,
        }  # fmt: skip

    def follow(self) -> tuple[Status, str | None]:
        """Train to the last step, or to the first window that holds a non-finite loss, or to a stop."""
        run, tally = self.run, self.tally
        self.begin()
        if not self.resume():
            self.evaluate(None)
        engine = self.engine
        for end in evaluation_steps(run.budget.steps, run.budget.evaluations):
            if end <= tally.num_steps:
                continue
            if not self.take_steps(end):
                return "interrupted", f"asked to stop after step {tally.position} of {run.budget.steps}"
            window, tally.window = tally.window, []
            tally.num_skipped_steps = engine.count_skipped()
            tally.num_train_items += len(window) * engine.num_step_items
            for offset, loss in enumerate(window):
                if not math.isfinite(loss):
                    tally.diverged_step = tally.num_steps + offset
                    tally.num_steps = tally.diverged_step + 1
                    return "diverged", f"training loss was {loss} at step {tally.diverged_step}"
            tally.num_steps = end
            if not self.evaluate(math.fsum(window) / len(window)):
                tally.diverged_step = end
                return "diverged", f"validation loss was not finite after step {end}"
        set_mode(self.model, self.optimizer, is_training=False)
        tally.search_loss = validate(engine.evaluated, self.data, "search", engine.call, self.team)[0]
        return "finished", None

    def begin(self) -> None:
        """Make the live parts as they are before the first step."""
        self.model, self.optimizer, self.data = prepare(self.run)
        self.tally.num_params = sum(parameter.numel() for parameter in self.model.parameters())
        # Before any saved state is there: the lr that an optimizer is made with is the schedule's peak.
        self.engine = Eager(self.run, self.model, self.optimizer, self.data, self.team)

    def take_steps(self, end: int) -> bool:
        """Take the steps up to an evaluation; return whether all of them were taken."""
        tally, keep = self.tally, self.keep
        losses: list[Tensor] = []
        start = time.perf_counter()
        for step in range(tally.position, end):
            losses.append(self.engine.step(step))
            is_stopped = self.should_stop is not None and self.should_stop()
            if self.team is not None:
                is_stopped = self.team.agree(is_stopped)
            if is_stopped or step + 1 == end or (keep is not None and keep.is_due()):
                # The one place that waits for the device. The clock stops here: neither evaluation nor a
                # save is training time.
                tally.window += torch.stack(losses).tolist()
                losses.clear()
                tally.train_s += time.perf_counter() - start
                if step + 1 == end:
                    tally.formats = tally.formats or self.engine.read_formats()
                if is_stopped or (keep is not None and keep.is_due()):
                    self.save()
                if is_stopped:
                    return False
                start = time.perf_counter()
        return True

    def save(self) -> None:
        """Keep the state as it is after a step, if it is to be kept and can be."""
        if self.keep is None:
            return
        try:
            parts = state.collect(self.model, self.optimizer, self.engine, self.run.device)
        except Unsupported as error:
            self.keep.give_up(str(error))
            return
        self.keep.save(self.owner, self.tally.position, {"tally": self.tally.state_dict(), "parts": parts})

    def resume(self) -> bool:
        """Continue from a saved state; return whether there was one."""
        keep, device = self.keep, self.run.device
        saved = None if keep is None else keep.load(self.owner, device)
        if self.team is not None:
            saved = self.team.send_state(saved, device)
        if saved is None:
            return False
        # An optimizer that makes something of a change of mode does so before its state comes back.
        set_mode(self.model, self.optimizer, is_training=True)
        try:
            state.restore(saved["parts"], self.model, self.optimizer, self.engine, device)
        except Exception as error:
            note = f"started over: its state can't be loaded: {explain(error)[1]}"
            self.begin()
        else:
            self.tally.load_state_dict(saved["tally"])
            note = f"resumed after step {self.tally.position} of {self.run.budget.steps}"
        if keep is not None:
            keep.note(note)
        return self.tally.position > 0

    def evaluate(self, train_loss: float | None) -> bool:
        """Add a point to the curve; return whether the validation loss is finite."""
        start = time.perf_counter()
        set_mode(self.model, self.optimizer, is_training=False)
        loss, metrics = validate(self.engine.evaluated, self.data, "report", self.engine.call, self.team)
        set_mode(self.model, self.optimizer, is_training=True)
        is_finite = self.tally.add_point(train_loss, loss, metrics)
        self.tally.eval_s += time.perf_counter() - start
        if self.tell is not None:
            self.tell(self.tally.num_steps, loss)
        return is_finite

    def draw(self) -> dict[str, bytes]:
        """Return the files the data makes of a trained model."""
        set_mode(self.model, self.optimizer, is_training=False)

        def predict(inputs: Tensor) -> Tensor:
            with torch.no_grad():
                return widen(read_outputs(self.engine.call(self.engine.evaluated, inputs)))

        return self.data.artifacts(predict)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or ["no message"])[0][:300]
