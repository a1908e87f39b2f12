"""The only training loop: it asks an engine for steps, evaluates on schedule, knows no optimizer by name."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from bench.checkpoint import MAX_SHARE
from bench.engine.parallel import Team
from bench.engine.population import Population
from bench.engine.single import Single
from bench.errors import Unsupported
from bench.result import Machine
from bench.tally import evaluation_steps
from bench.trainee import End, Trainee


class Loop:
    """Runs of one engine under way, all at the same position.

    Args:
        trainees: In the engine's order.
        machine: Recorded beside the numbers.
        engine: With the runs' live parts, as they were made or restored.
        should_stop: Asked after each step.
        team: Processes that train along.
    """

    def __init__(
        self,
        trainees: Sequence[Trainee],
        machine: Machine,
        engine: Single | Population,
        should_stop: Callable[[], bool] | None = None,
        team: Team | None = None,
    ) -> None:
        self.live = list(enumerate(trainees))
        self.machine = machine
        self.engine = engine
        self.should_stop = should_stop
        self.team = team
        # Saving all of them takes a share of the time, whatever one of them takes.
        self._save_after = 0.0

    def follow(self) -> Iterator[End]:
        """Train to the last step, or to the first window that holds a non-finite loss, or to a stop."""
        budget = self.live[0][1].run.budget
        if self.live[0][1].tally.position == 0:
            yield from self.evaluate({})
        for end in evaluation_steps(budget.steps, budget.evaluations):
            if not self.live or end <= self.live[0][1].tally.num_steps:
                continue
            if not self.take_steps(end):
                for place, trainee in self.live:
                    detail = f"asked to stop after step {trainee.tally.position} of {budget.steps}"
                    yield End(place, "interrupted", detail, {})
                return
            yield from self.close_window(end)
        self.engine.set_mode(is_training=False)
        losses = self.engine.validate("search") if self.live else []
        for number, ((place, trainee), (loss, _)) in enumerate(zip(self.live, losses, strict=True)):
            trainee.tally.search_loss = loss
            # One picture a cell is enough to look at; numbers come from every seed.
            yield End(place, "finished", None, self.engine.draw(number) if trainee.run.seed == 0 else {})

    def take_steps(self, end: int) -> bool:
        """Take the steps up to an evaluation; return whether all of them were taken."""
        losses: list[Tensor] = []
        start = time.perf_counter()
        for step in range(self.live[0][1].tally.position, end):
            losses.append(self.engine.step(step))
            is_stopped = self.should_stop is not None and self.should_stop()
            if self.team is not None:
                is_stopped = self.team.agree(is_stopped)
            if is_stopped or step + 1 == end or self.is_save_due():
                # The one place that waits for the device. The clock stops here: neither evaluation nor a
                # save is training time.
                rows = torch.stack(losses).view(len(losses), -1).t().tolist()
                samples = self.engine.take_samples()
                losses.clear()
                spent_s = (time.perf_counter() - start) / len(self.live)
                for number, ((_, trainee), row) in enumerate(zip(self.live, rows, strict=True)):
                    trainee.tally.window += row
                    trainee.tally.samples += samples[number]
                    trainee.tally.train_s += spent_s
                    if step + 1 == end and trainee.tally.formats is None:
                        trainee.tally.formats = self.engine.read_formats(number)
                if is_stopped or self.is_save_due():
                    self.save()
                if is_stopped:
                    return False
                start = time.perf_counter()
        return True

    def close_window(self, end: int) -> Iterator[End]:
        """Look at the losses up to an evaluation, and evaluate whoever still has finite ones."""
        means: dict[int, float] = {}
        for number, (place, trainee) in enumerate(self.live):
            tally = trainee.tally
            window, tally.window = tally.window, []
            tally.num_skipped_steps = self.engine.count_skipped(number)
            tally.num_train_items += len(window) * self.engine.num_step_items
            bad = next((offset for offset, loss in enumerate(window) if not math.isfinite(loss)), None)
            if bad is None:
                tally.num_steps = end
                means[place] = math.fsum(window) / len(window)
            else:
                tally.diverged_step = tally.num_steps + bad
                tally.num_steps = tally.diverged_step + 1
                detail = f"training loss was {window[bad]} at step {tally.diverged_step}"
                yield End(place, "diverged", detail, {})
        self.leave(set(means))
        if means:
            yield from self.evaluate(means)

    def evaluate(self, train_losses: dict[int, float]) -> Iterator[End]:
        """Add a point to each curve; let go whose validation loss is not finite, but for the first point."""
        start = time.perf_counter()
        self.engine.set_mode(is_training=False)
        found = self.engine.validate("report")
        self.engine.set_mode(is_training=True)
        spent_s = (time.perf_counter() - start) / len(self.live)
        left = set()
        for (place, trainee), (loss, metrics) in zip(self.live, found, strict=True):
            tally = trainee.tally
            is_finite = tally.add_point(train_losses.get(place), loss, metrics)
            tally.eval_s += spent_s
            if trainee.tell is not None:
                trainee.tell(tally.num_steps, loss)
            if is_finite or not train_losses:
                left.add(place)
            else:
                tally.diverged_step = tally.num_steps
                detail = f"validation loss was not finite after step {tally.num_steps}"
                yield End(place, "diverged", detail, {})
        self.leave(left)

    def leave(self, places: set[int]) -> None:
        """Go on with these only."""
        if len(places) < len(self.live):
            kept = [number for number, (place, _) in enumerate(self.live) if place in places]
            self.live = [self.live[number] for number in kept]
            if kept:
                self.engine.keep(kept)

    def is_save_due(self) -> bool:
        """Return whether it is time to save everyone."""
        if time.monotonic() < self._save_after:
            return False
        return any(one.keep is not None and one.keep.is_due() for _, one in self.live)

    def save(self) -> None:
        """Keep the state of each as it is after a step, if it is to be kept and can be."""
        start = time.monotonic()
        for number, (_, trainee) in enumerate(self.live):
            if (keep := trainee.keep) is None:
                continue
            try:
                parts = self.engine.collect(number)
            except Unsupported as error:
                keep.give_up(str(error))
                continue
            owner = trainee.describe_owner(self.machine, self.engine.name)
            keep.save(owner, trainee.tally.position, {"tally": trainee.tally.state_dict(), "parts": parts})
        if len(self.live) > 1:
            now = time.monotonic()
            self._save_after = now + (now - start) / MAX_SHARE
