"""Frozen records of what happened: one per run and one per measured step, with the unit in every name."""

from __future__ import annotations

from typing import Literal

from bench.cost import (
    Arithmetic,
    Breakdown,
    Clock,
    Clocks,
    Compiling,
    Formats,
    Memory,
    PeakSource,
    Reference,
    Update,
)
from bench.effort import Dimension, RangeTest
from bench.health import Watch
from bench.kinds import Record
from bench.spec import Run, Study

Status = Literal["finished", "diverged", "oom", "timeout", "failed", "killed", "interrupted", "unsupported"]
# Only these settle a run: every other end may be tried again.
SETTLED: frozenset[str] = frozenset({"finished", "diverged"})


class Machine(Record, frozen=True, kw_only=True):
    """Where and with what a number was made."""

    device: str
    device_name: str
    num_threads: int
    num_cpus: int
    platform: str
    python: str
    torch: str
    bench: str
    # Of the working folder's repository; None outside one.
    commit: str | None
    is_dirty: bool | None


class Curve(Record, frozen=True, kw_only=True):
    """A run over its evaluation points, the first one before training; all columns are equally long."""

    step: tuple[int, ...]
    # Mean over the steps since the previous point; the first has none.
    train_loss: tuple[float | None, ...]
    val_loss: tuple[float | None, ...]
    # Training time so far; evaluation is off the clock.
    elapsed_s: tuple[float, ...]
    # Validation metrics by name: accuracy (share of items), psnr_db.
    val_metrics: dict[str, tuple[float | None, ...]]


class Result(Record, frozen=True, kw_only=True):
    """What came of one run."""

    schema: int
    id: str
    run: Run
    status: Status
    # Why it ended so, in one line; None for a finished run.
    detail: str | None
    # At the end of the schedule, a mean over all report items of the validation split; None unless finished.
    val_loss: float | None
    # The same over the search items, a part of the validation split that no reported number uses.
    search_loss: float | None
    val_loss_best: float | None
    train_loss: float | None
    val_metrics: dict[str, float]
    curve: Curve
    num_steps: int
    # The first step whose loss was not finite.
    diverged_step: int | None
    num_params: int
    # Training items per step, and in total.
    num_train_items: int
    train_s: float
    eval_s: float
    engine: str
    # Found after the first steps; None: it did not come so far.
    formats: Formats | None = None
    # Steps that the loss scaler skipped, as their gradients overflowed.
    num_skipped_steps: int = 0
    watch: Watch | None = None  # None: too short a run, or nothing was asked for.
    machine: Machine
    # Names of files beside the result, such as a picture.
    artifacts: tuple[str, ...]
    # What else befell it, a line each: where it was resumed, a checkpoint that was damaged.
    notes: tuple[str, ...] = ()
    started_at: str


class Cost(Record, frozen=True, kw_only=True):
    """What one step of a cell costs, measured alone."""

    schema: int
    id: str
    cell_id: str
    run: Run
    status: Status
    detail: str | None
    num_steps: int
    # Whole step: batch, forward, backward, optimizer. The mean is over whole update periods.
    step_mean_s: float | None
    step_p50_s: float | None
    step_p99_s: float | None
    # A quarter of the steps are shorter than the one, and longer than the other.
    step_p25_s: float | None
    step_p75_s: float | None
    items_per_s: float | None
    clock: Clock | None
    # Steps after which the optimizer's work repeats: some do heavy work every k-th only.
    period: int | None
    num_params: int | None
    params_bytes: int | None
    grads_bytes: int | None
    state_bytes: int | None
    # Peak during one steady step: parameters, gradients, state, activations and temporaries.
    peak_bytes: int | None
    peak_source: PeakSource | None
    # Allocated by cuBLAS for itself (part of the peak), and held by the allocator: CUDA only.
    workspace_bytes: int | None
    reserved_bytes: int | None
    # Why a part of these is missing, one line each.
    notes: tuple[str, ...]
    # False where the device computes this precision by way of another: its times then say nothing of it.
    is_fast: bool = True
    reference: Reference | None
    breakdown: Breakdown | None
    update: Update | None
    arithmetic: Arithmetic | None
    # Counted under fake tensors.
    predicted: Memory | None
    compiling: Compiling | None
    clocks: Clocks | None
    formats: Formats | None
    machine: Machine


class TrialRecord(Record, frozen=True, kw_only=True):
    """One setting that a search tried."""

    number: int
    # Dotted key -> value, as `optimizer.lr`.
    params: dict[str, bool | int | float | str]
    # Run ids by search seed, and their search losses; None: that run diverged or failed.
    runs: tuple[str, ...]
    losses: tuple[float | None, ...]
    # Tried on more search seeds than the first pass has.
    is_confirmed: bool
    # Which round proposed it: 0 the first pass, 1... the widenings.
    round: int


class SearchRecord(Record, frozen=True, kw_only=True):
    """How a study's setting was found."""

    sampler: str
    # Dotted key -> what was varied, with the bounds as they ended (after widening).
    space: dict[str, Dimension]
    trials: tuple[TrialRecord, ...]
    # Number of the chosen trial; None: every setting diverged or failed.
    best: int | None
    # The side at which the best lr lies on the edge of its range.
    edge: Literal["low", "high"] | None
    num_widened: int
    # False for a first report: confirmation or widening is still to come.
    is_final: bool
    # What search=lr_range found before the first pass, whose grid lies around it.
    range_test: RangeTest | None = None


class StudyRecord(Record, frozen=True, kw_only=True):
    """One study of a sweep as its folder keeps it: what was asked, and the ids that answer it."""

    schema: int
    study: Study
    # Where its results are kept: with the ids, this names their files.
    machine: Machine
    # Evaluation runs, by seed order.
    runs: tuple[Run, ...]
    # None under search=none.
    search: SearchRecord | None = None
    # None: not asked for, or it came to nothing (then `metering_detail` says why).
    metering_id: str | None
    metering_detail: str | None = None
    # Ends that settle nothing (no result file answers them), by run id.
    unsettled: dict[str, Result] = {}
    # How many of the runs were answered from the store.
    num_cached: int = 0


class Plan(Record, frozen=True, kw_only=True):
    """What a launched job works on: the whole sweep, frozen before the first job began."""

    schema: int
    name: str
    command: str
    studies: tuple[Study, ...]
    # What the job says on its way.
    volume: Literal["quiet", "plain", "verbose"] = "plain"


class Manifest(Record, frozen=True, kw_only=True):
    """What a sweep's folder says of itself."""

    schema: int
    name: str
    command: str
    started_at: str
    ended_at: str | None
    wall_s: float | None
    is_interrupted: bool
    # Files under studies/, in order.
    studies: tuple[str, ...]
    machine: Machine
