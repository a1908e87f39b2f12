"""What a run under way knows of itself: its curve, both clocks and its counts, apart from what trains."""

from __future__ import annotations

import dataclasses
import datetime
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from bench.cost import Formats
from bench.health import Watch
from bench.identity import run_id
from bench.kinds import SCHEMA
from bench.result import Curve, Machine, Result, Status
from bench.spec import Run


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


@dataclass
class Tally:
    """A run's numbers so far; all of them go into its checkpoints, and come back from them."""

    started_at: str = field(default_factory=_now)
    # Columns of the curve.
    steps: list[int] = field(default_factory=list)
    train_losses: list[float | None] = field(default_factory=list)
    val_losses: list[float | None] = field(default_factory=list)
    elapsed_s: list[float] = field(default_factory=list)
    val_metrics: list[dict[str, float]] = field(default_factory=list)
    # Training losses of the steps since the newest point of the curve, as far as they were read.
    window: list[float] = field(default_factory=list)
    train_s: float = 0.0
    eval_s: float = 0.0
    # Up to the newest point of the curve.
    num_steps: int = 0
    num_train_items: int = 0
    num_params: int = 0
    num_skipped_steps: int = 0
    search_loss: float | None = None
    diverged_step: int | None = None
    formats: Formats | None = None
    # What was sampled of gradients: `bench.engine.watch`.
    samples: list[dict[str, Any]] = field(default_factory=list)

    @property
    def position(self) -> int:
        """Steps taken, those of the unfinished window included."""
        return self.num_steps + len(self.window)

    def add_point(self, train_loss: float | None, val_loss: float, metrics: dict[str, float]) -> bool:
        """Add a point to the curve; return whether its validation loss is finite."""
        is_finite = math.isfinite(val_loss)
        self.steps.append(self.num_steps)
        self.train_losses.append(train_loss)
        self.val_losses.append(val_loss if is_finite else None)
        self.elapsed_s.append(self.train_s)
        self.val_metrics.append({name: value for name, value in metrics.items() if math.isfinite(value)})
        return is_finite

    def state_dict(self) -> dict[str, Any]:
        """Return the numbers as plain values."""
        state = {one.name: getattr(self, one.name) for one in dataclasses.fields(self)}
        return state | {"formats": None if self.formats is None else msgspec.to_builtins(self.formats)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        formats = state["formats"]
        for name, value in (state | {"formats": formats and msgspec.convert(formats, Formats)}).items():
            setattr(self, name, value)

    def conclude(
        self,
        run: Run,
        status: Status,
        detail: str | None,
        machine: Machine,
        *,
        engine: str,
        artifacts: tuple[str, ...] = (),
        notes: tuple[str, ...] = (),
    ) -> Result:
        """Return the record of how the run ended."""
        is_finished = status == "finished"
        known = [loss for loss in self.val_losses if loss is not None]
        names = sorted({name for metrics in self.val_metrics for name in metrics})
        return Result(
            schema=SCHEMA,
            id=run_id(run),
            run=run,
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
            engine=engine,
            formats=self.formats,
            num_skipped_steps=self.num_skipped_steps,
            watch=gather(self.samples, run.clip_norm),
            machine=machine,
            artifacts=artifacts,
            notes=notes,
            started_at=self.started_at,
        )


def gather(samples: Sequence[dict[str, Any]], clip_norm: float | None) -> Watch | None:
    """Return samples as columns, with four digits a number; None: there are none.

    Args:
        samples: By step, as `bench.engine.watch` makes them.
        clip_norm: What the gradient is bound by.
    """
    if not samples:
        return None
    first = samples[0]
    weights, gradients, ratios = (
        tuple(tuple(_round(found[column]) for found in one["layers"].values()) for one in samples)
        for column in range(3)
    )
    clipped = None
    if clip_norm is not None:
        totals = [math.hypot(*(found[1] for found in one["layers"].values())) for one in samples]
        clipped = sum(not total <= clip_norm for total in totals) / len(totals)
    return Watch(
        layers=tuple(first["layers"]),
        step=tuple(one["step"] for one in samples),
        gradient_norm=gradients,
        parameter_norm=weights,
        update_ratio=ratios,
        activations=tuple(first["dead"]),
        dead_share=tuple(tuple(one["dead"].values()) for one in samples) if first["dead"] else (),
        clipped_share=clipped,
        loss_scale=tuple(one["scale"] for one in samples if one["scale"] is not None),
    )


def _round(number: float) -> float | None:
    return float(f"{number:.4g}") if math.isfinite(number) else None


def evaluation_steps(num_steps: int, num_evaluations: int) -> list[int]:
    """Return the steps after which a run is evaluated: evenly spread, the last one at its end."""
    wanted = (round(num_steps * k / num_evaluations) for k in range(1, num_evaluations + 1))
    return sorted({step for step in wanted if step > 0})
