"""Frozen records of how a training went: where rules draw their lines, what was watched, what was found."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from bench.kinds import Count, Positive, Record

# unclear: too few points to tell, or no curve.
Kind = Literal[
    "healthy", "unclear", "flat", "exploding", "diverged", "overfitting", "noisy", "underfit", "vanishing"
]


class Health(Record, frozen=True, kw_only=True):
    """Where the diagnosis of a curve draws its lines; docs/practice.md tells each rule."""

    # Evaluations after the first step below which nothing is said.
    min_points: Count
    # Share of the loss before training: a smaller fall is none.
    flat: Positive
    # Times the loss before training: a training loss that ends higher has exploded.
    exploding: Positive
    # Share of the loss before training: a smaller fall has learned little.
    little: Positive
    # Share of the whole fall that comes in the last quarter of the steps: more is not done yet.
    late: Positive
    # Share of the lowest validation loss by which the last one is higher, while training fell by as much.
    overfitting: Positive
    # Sum of all rises of the training loss over its whole fall.
    noisy: Positive
    # Norm of the gradient, where one was watched: higher and rising has exploded.
    gradient_norm: Positive
    # Gradient norm of the first layer over that of the last, where they were watched: less is vanishing.
    vanishing: Positive


class Watching(Record, frozen=True, kw_only=True):
    """How often a run's gradients are looked at; changes no number of it, and is no part of its id."""

    name: Literal["none", "light", "full"] = "none"
    # At most, evenly spread from the first step to the last.
    samples: Annotated[int, Meta(ge=0)] = 0
    # Of all steps, at most.
    share: Annotated[float, Meta(ge=0, le=1)] = 0.0


class Watch(Record, frozen=True, kw_only=True):
    """What was sampled of the gradients of a run; all columns are as long as `step`; None: not finite.

    Norms are of the gradient before it is clipped, and of the weights before the update.
    """

    # Modules with weights that are trained, as the model lists them: from the input to the output.
    layers: tuple[str, ...]
    step: tuple[int, ...]
    # One row a sample, one number a layer.
    gradient_norm: tuple[tuple[float | None, ...], ...]
    parameter_norm: tuple[tuple[float | None, ...], ...] = ()
    # Norm of the update over that of the weights, on an even sample of a layer's weights.
    update_ratio: tuple[tuple[float | None, ...], ...] = ()
    # ReLU modules, and the share of their units that were 0 for the whole batch; none of a compiled model.
    activations: tuple[str, ...] = ()
    dead_share: tuple[tuple[float, ...], ...] = ()
    # Of the samples; None: the gradient has no bound.
    clipped_share: float | None = None
    # Empty: no loss is scaled.
    loss_scale: tuple[float, ...] = ()


class Diagnosis(Record, frozen=True, kw_only=True):
    """What a curve tells, on what evidence, and what to try next."""

    kind: Kind
    evidence: str
    # One sentence; None: nothing has to be done.
    advice: str | None = None
    # Dotted key -> value that the next command should have.
    overrides: dict[str, str] = {}
