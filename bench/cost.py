"""Frozen records of what one step of a cell costs, and of how that is asked: units are in every name."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from bench.kinds import Count, NonNegative, Positive, Record

Clock = Literal["wall", "thread_cpu", "cuda_event"]
PeakSource = Literal["cuda_allocator", "cpu_allocator_events"]
Phase = Literal["data", "forward", "backward", "optimizer"]


class Meter(Record, frozen=True, kw_only=True):
    """How a step's cost is measured."""

    is_on: bool
    # Steps before any clock starts: lazy state, kernel choice, caches.
    warmup_steps: Count
    # A GPU also works at least so long before, until its clocks settle.
    warmup_s: NonNegative
    # In each round this cell and the reference take a block of steps each, about so long.
    block_s: Positive
    # Rounds at most; fewer than six have no 95 % interval.
    rounds: Annotated[int, Meta(ge=6)]
    # All rounds together take about so long: slow steps get fewer of them, down to six.
    seconds: Positive


class Ratio(Record, frozen=True, kw_only=True):
    """One step time over another, both taken in the same rounds."""

    # Median over the rounds, and its 95 % interval.
    median: float
    low: float
    high: float
    num_rounds: int


class Reference(Record, frozen=True, kw_only=True):
    """A cell's step beside the fixed step that any two cells of a model share."""

    # The reference: same model, data and batch; SGD, fp32, nothing recomputed or compiled.
    step_p50_s: float
    # This cell over the reference.
    ratio: Ratio
    # The reference over itself: what the measurement can't tell apart.
    noise: Ratio


class Breakdown(Record, frozen=True, kw_only=True):
    """Where a step's time goes, from blocks of their own; medians."""

    data_s: float
    forward_s: float
    backward_s: float
    optimizer_s: float
    # Until the host has asked for everything; None where it waits for each operation anyway (a CPU).
    host_s: float | None


class Update(Record, frozen=True, kw_only=True):
    """The optimizer's step alone, against the bytes it has to move."""

    step_s: float
    # Read weights, gradients and state, write weights and state, each once.
    ideal_bytes: int
    # Measured by adding one long tensor to another in place.
    roof_bytes_per_s: float
    # The same optimizer over as many tensors of one element each: what its calls cost with nothing to do.
    floor_s: float
    # launch: the calls are at least half of the time, so a share of the roof would mean nothing.
    bound: Literal["launch", "bandwidth", "compute"]


class Arithmetic(Record, frozen=True, kw_only=True):
    """Floating-point operations of one step, counted under fake tensors."""

    # Forward and backward of the model as it is; what recomputing adds is only in `hardware_flops`.
    model_flops: float
    hardware_flops: float
    # What the device can do a second in this precision, and where that is known from.
    peak_flops_per_s: float | None
    peak_source: Literal["datasheet", "measured"] | None
    # Whether the count leaves out operations that the counter can't see.
    is_lower_bound: bool


class Memory(Record, frozen=True, kw_only=True):
    """The bytes of one steady step, and where it needs the most."""

    params_bytes: int
    buffers_bytes: int
    grads_bytes: int
    # Without counters such as Adam's `step`.
    state_bytes: int
    # Kept by forward for backward, without the parameters and the batch.
    saved_bytes: int
    batch_bytes: int
    # Kept by cuBLAS for itself, part of the peak; 0 on a CPU.
    workspace_bytes: int = 0
    peak_bytes: int
    phase: Phase
    # The most bytes at once in each phase.
    phases: dict[Phase, int]
    # Whether an operation hides memory of its own from the count.
    is_lower_bound: bool


class Predict(Record, frozen=True, kw_only=True, omit_defaults=True):
    """What do=predict takes where data is not here, or is of another kind than the model takes."""

    # Whether each cell's step is taken on this machine as well, for its measured peak.
    measure: bool = False
    # Rows a step of data made up for a model; where budget.batch_size is typed, that.
    batch_size: Count = 8
    # Of made-up tokens.
    context: Count = 1024
    vocab_size: Count = 50257
    # Of a made-up image: channels, height and width.
    image: tuple[Count, Count, Count] = (3, 32, 32)
    # Of a made-up vector.
    features: Count = 784
    # Classes of made-up images and vectors.
    num_classes: Count = 10


class Prediction(Record, frozen=True, kw_only=True):
    """One row of do=predict: what a cell's step will need, or why that can't be said."""

    status: Literal["finished", "unsupported", "failed"]
    detail: str | None
    # Dotted key -> value of what a cell is made of; rows are told apart by those that differ.
    settings: dict[str, str | float | bool | None]
    device: str
    # Name of the data set, or what was made up in its place.
    data: str
    batch_size: int
    num_params: int | None
    memory: Memory | None
    # The same step taken on this machine; why it was not, where it was asked for.
    measured_bytes: int | None
    measured_detail: str | None
    # What the peak is held against, and the most rows whose peak is within; None: no limit was given.
    limit_bytes: int | None
    largest_batch: int | None
    # Whether that is all the rows of the data.
    is_all_rows: bool
    # Of a step of this cell, over one that recomputes nothing; None: not asked for.
    flops_ratio: float | None


class Predictions(Record, frozen=True, kw_only=True):
    """What one command of do=predict found."""

    schema: int
    command: str
    machine: str
    torch: str
    wall_s: float
    rows: tuple[Prediction, ...]


class Compiling(Record, frozen=True, kw_only=True):
    """What compiling costs before the first step, and when that is earned back."""

    cold_s: float
    # With the compiler's cache filled by an earlier process.
    warm_s: float | None
    num_recompiles: int
    # Steps after which the compiled step has earned its compiling; None: it never does.
    break_even_steps: float | None


class Clocks(Record, frozen=True, kw_only=True):
    """A GPU's state while it was measured."""

    sm_mhz: tuple[float, ...]
    power_w: tuple[float, ...]
    temperature_c: tuple[float, ...]
    # Reasons the driver gave for slowing down, if any.
    throttle_reasons: tuple[str, ...]


class Formats(Record, frozen=True, kw_only=True):
    """The number formats as they were found after a step, by torch's names without `torch.`."""

    loss: tuple[str, ...]
    gradients: tuple[str, ...]
    weights: tuple[str, ...]
    # Tensors of more than one element.
    state: tuple[str, ...]
    outputs: tuple[str, ...]
    autocast: str | None
    # Of matrix products and of cuDNN; None where the device has no such thing.
    is_tf32: bool | None


class Pace(Record, frozen=True, kw_only=True):
    """What one run takes on either engine, training and evaluations, in seconds, as a short trial had it."""

    eager_s: float
    # Its share of a population's time; None where it was not tried, or can't be.
    population_s: float | None
    # Members that were tried.
    num: int
    # Why there is none, in one line.
    detail: str | None = None
