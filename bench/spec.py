"""Frozen records of what to run: the command line and the YAML, read once, with the bounds in the types."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from bench.cost import Meter, Predict
from bench.effort import OptimizerSearch, Search, Seeds
from bench.health import Health, Watching
from bench.kinds import Count, Fraction, Name, NonNegative, Positive, Record, Target, Vary
from bench.place import Place


class Workload(Record, frozen=True, kw_only=True):
    """A frozen, versioned task: what the numbers of a table belong to."""

    name: Name
    version: Count
    steps: Count
    # What budget=short takes.
    short_steps: Count
    batch_size: Count
    # Optimizer name -> the learning rate that `lr: auto` means under `search=none`.
    lr: dict[str, Positive]
    # How two final losses are compared: their log-ratio (shown as %), or their difference.
    effect: Literal["log_ratio", "difference"]
    # Two optimizers closer than this (on the scale of `effect`) are tied.
    margin: Positive
    # Optimizer name -> {"val_loss": mean, "sd": seed sd, "n": seeds}, measured once and frozen.
    reference: dict[str, dict[str, float]] = {}


class Data(Record, frozen=True, kw_only=True):
    """A data set: where it comes from, and the hash that says it is the one meant."""

    target: Target
    name: Name
    version: str
    licence: str
    # Of the decoded source arrays; null accepts whatever is there.
    sha256: str | None
    # What one item is, in the singular: pixel, sample, token.
    item: Name
    args: dict[str, Any] = {}


class Model(Record, frozen=True, kw_only=True):
    """An `nn.Module` class and its arguments."""

    target: Target
    name: Name
    args: dict[str, Any] = {}


class Optimizer(Record, frozen=True, kw_only=True):
    """A `torch.optim.Optimizer` class, its arguments, and the range its lr is searched in."""

    target: Target
    name: Name
    lr: Positive | Literal["auto"]
    # None: not passed to the class, whose own default then holds.
    weight_decay: NonNegative | None = None
    # Coupled (L2, through the gradient) or decoupled (times lr, past the gradient).
    weight_decay_kind: Literal["l2", "decoupled", "none"] | None = None
    # None: the class takes no such flag, or decides by itself.
    impl: Literal["fused", "foreach", "forloop"] | None = None
    search: OptimizerSearch
    # Kind of parameter, or fnmatch pattern of parameter names -> options of that group, by name.
    groups: dict[str, Any] = {}
    args: dict[str, Any] = {}


# omit_defaults: a schedule that has no use for a field is the schedule it was before the field was there.
class Schedule(Record, frozen=True, kw_only=True, omit_defaults=True):
    """The lr over a run as a pure function of the step."""

    name: Literal["constant", "linear", "cosine", "wsd", "exponential"]
    # Share of all steps spent rising linearly from 0.
    warmup: Fraction
    # The lr the decay ends at, as a share of the peak.
    floor: Annotated[float, Meta(ge=0, le=1)]
    interval: Literal["step", "epoch"]
    # Share of all steps spent in the final decay; only wsd has it, the others decay all the way.
    decay: Annotated[float, Meta(gt=0, le=1)] | None = None


class Precision(Record, frozen=True, kw_only=True):
    """The number formats a run computes in."""

    # auto: bf16 on a GPU, fp32 on anything else; mixed: fp16 on CUDA, bf16 on anything else. A run holds the
    # one that was meant.
    name: Literal["auto", "mixed", "fp32", "tf32", "bf16", "fp16", "bf16_pure", "fp64"]


class Recompute(Record, frozen=True, kw_only=True):
    """Which activations are thrown away after forward, and computed again in backward."""

    name: Literal["none", "block", "segments"] = "none"
    # Parts that the stack of blocks is cut into; auto: the square root of its depth, rounded.
    segments: Count | Literal["auto"] = "auto"


class Compile(Record, frozen=True, kw_only=True):
    """What torch.compile makes of a step, and whether CUDA graphs replay it."""

    name: Literal["none", "model", "step"] = "none"
    graphs: bool = False


class Budget(Record, frozen=True, kw_only=True):
    """How long a run lasts, and how often it is evaluated."""

    name: Name
    steps: Count
    batch_size: Count
    # What another batch size than the workload's keeps: the number of steps, or of training items.
    hold: Literal["steps", "items"]
    # Parts a batch is computed in, one after the other: less memory, the same step.
    accumulate: Count
    # Evaluations after the first step's start, evenly spread; the last is at the end.
    evaluations: Count


class Engine(Record, frozen=True, kw_only=True):
    """How a step is taken."""

    name: Literal["auto", "eager", "population"]


class Report(Record, frozen=True, kw_only=True):
    """What the report shows."""

    # The optimizer all others are compared with; null: adamw, else the first by name.
    reference: str | None
    # Import paths of the chapters, in order.
    sections: tuple[Target, ...]
    health: Health | None = None  # Studies of older versions have none.


class Study(Record, frozen=True, kw_only=True):
    """What one Hydra job asks for: one cell, over its seeds."""

    do: Literal["compare", "plan", "check", "noise", "predict", "trace", "replay"]
    # Of the stored run that do=replay takes; the first digits will do.
    run: Annotated[str, Meta(pattern=r"^[0-9a-f]{4,32}$")] | None = None
    workload: Workload
    # True when data, model or budget differ from the workload's own: shown as `name*`.
    is_workload_modified: bool
    data: Data
    model: Model
    optimizer: Optimizer
    schedule: Schedule
    precision: Precision
    budget: Budget
    search: Search
    meter: Meter
    engine: Engine
    report: Report
    place: Place
    seeds: Seeds
    # Share of the workload's steps; the budget here already holds it.
    horizon: Positive
    recompute: Recompute = Recompute()
    compile: Compile = Compile()
    watch: Watching = Watching()
    # What do=predict holds a peak against, in GiB; null: the device's own memory where it has a limit.
    device_memory_gib: Positive | None = None
    predict: Predict = Predict()
    clip_norm: Positive | None
    # Decay of the average of the weights that is evaluated; null: the weights themselves.
    ema: Fraction | None
    device: Literal["auto", "cpu", "cuda", "mps"]
    threads: Count
    # That one training is spread over, as torchrun started them.
    processes: Count = 1
    # Ends that a repeated command tries again; finished and diverged are settled.
    retry: tuple[Literal["failed", "oom", "timeout", "killed", "interrupted"], ...]


class Run(Record, frozen=True, kw_only=True):
    """One training with everything resolved, and one seed."""

    data: Data
    model: Model
    optimizer: Optimizer
    schedule: Schedule
    precision: Precision
    budget: Budget
    recompute: Recompute = Recompute()
    compile: Compile = Compile()
    # Changes no number, so the id leaves it out.
    watch: Watching = Watching()
    clip_norm: Positive | None
    ema: Fraction | None
    device: Literal["cpu", "cuda", "mps"]
    threads: Count
    # More than one change last bits.
    processes: Count = 1
    seed: Annotated[int, Meta(ge=0)]
    # What the seed changes; the rest stays as seed 0 has it.
    vary: tuple[Vary, ...]
    # Import path -> digest of its source, or its package's version; only those outside torch and bench.
    sources: dict[str, str]


class Metering(Record, frozen=True, kw_only=True):
    """A request to measure what one step of a cell costs."""

    run: Run
    meter: Meter
