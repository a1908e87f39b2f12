"""Synthetic sweep folders, true to the schema and written through the store: what the report's tests read."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from PIL import Image

from bench.cost import (
    Arithmetic,
    Breakdown,
    Clocks,
    Compiling,
    Formats,
    Memory,
    Meter,
    Ratio,
    Reference,
    Update,
)
from bench.effort import Dimension, LrRange, OptimizerSearch, Search, Seeds
from bench.identity import cell_id, cost_id, run_id
from bench.kinds import SCHEMA
from bench.place import Place
from bench.result import (
    SETTLED,
    Cost,
    Curve,
    Machine,
    Manifest,
    Result,
    SearchRecord,
    StudyRecord,
    TrialRecord,
)
from bench.spec import (
    Budget,
    Data,
    Engine,
    Metering,
    Model,
    Optimizer,
    Precision,
    Report,
    Run,
    Schedule,
    Study,
    Workload,
)
from bench.store import Store

COMMAND = "python -m bench -m optimizer=adam,adamw"
_TARGETS = {"adam": "torch.optim.Adam", "adamw": "torch.optim.AdamW", "sgd": "torch.optim.SGD"}
_KINDS: dict[str, Literal["l2", "decoupled"]] = {"adam": "l2", "adamw": "decoupled", "sgd": "l2"}


def make_machine(**changes: Any) -> Machine:
    """Return a machine, changed where asked."""
    return msgspec.structs.replace(
        Machine(
            device="cpu",
            device_name="Test CPU @ 2.00GHz",
            num_threads=1,
            num_cpus=2,
            platform="Linux x86_64",
            python="3.11.9",
            torch="2.13.0",
            bench="0.1.0",
            commit="0123456789abcdef",
            is_dirty=False,
        ),
        **changes,
    )


def make_study(
    name: str = "adamw", *, lr: float = 1e-3, weight_decay: float | None = 0.01, **changes: Any
) -> Study:
    """Return a study of one optimizer on a small image workload, changed where asked."""
    optimizer = Optimizer(
        target=_TARGETS.get(name, "somewhere.else.Custom" + re.sub(r"\W", "", name)),
        name=name,
        lr=lr,
        weight_decay=weight_decay,
        weight_decay_kind=_KINDS.get(name),
        impl="foreach",
        search=OptimizerSearch(lr=LrRange(default=1e-3, low=1e-5, high=1e-1, source="its authors")),
        args={"betas": [0.9, 0.999]},
    )
    study = Study(
        do="compare",
        workload=Workload(
            name="photo_mlp",
            version=1,
            steps=200,
            short_steps=50,
            batch_size=1024,
            lr={},
            effect="log_ratio",
            margin=0.02,
        ),
        is_workload_modified=False,
        data=Data(
            target="bench.data.photo.Photo",
            name="photo",
            version="1",
            licence="CC0",
            sha256="ab" * 32,
            item="pixel",
        ),
        model=Model(target="bench.model.mlp.Mlp", name="photo_mlp", args={"depth": 2, "width": 64}),
        optimizer=optimizer,
        schedule=Schedule(name="cosine", warmup=0.1, floor=0.0, interval="step"),
        precision=Precision(name="fp32"),
        budget=Budget(name="short", steps=200, batch_size=1024, hold="steps", accumulate=1, evaluations=10),
        search=Search(
            name="none",
            sampler="grid",
            trials=9,
            per_decade=2.0,
            seeds=1,
            confirm=3,
            confirm_seeds=3,
            widen=True,
            widen_rounds=3,
            widen_trials=2,
            is_previewed=True,
            storage=None,
            space={},
        ),
        meter=Meter(is_on=True, warmup_steps=2, warmup_s=0.0, block_s=0.01, rounds=20, seconds=1.0),
        engine=Engine(name="eager"),
        report=Report(reference=None, sections=("bench.report.section.answer",)),
        place=Place(results="results", workers=1),
        seeds=Seeds(num=3, limit=20, vary=("init", "order", "dropout")),
        horizon=1.0,
        clip_norm=None,
        ema=None,
        device="cpu",
        threads=1,
        retry=(),
    )
    return msgspec.structs.replace(study, **changes)


def make_tuned_study(name: str = "adamw", /, *, horizon: float = 1.0, **search: Any) -> Study:
    """Return a study that searches its lr, at a share of the workload's steps."""
    study = make_study(name)
    return msgspec.structs.replace(
        study,
        optimizer=msgspec.structs.replace(study.optimizer, lr="auto"),
        search=msgspec.structs.replace(study.search, **{"name": "lr", **search}),
        budget=msgspec.structs.replace(study.budget, steps=round(200 * horizon)),
        horizon=horizon,
    )


def make_search(
    study: Study,
    tried: Mapping[float, Sequence[float | None]] | Sequence[tuple[dict[str, Any], Sequence[float | None]]],
    *,
    edge: Literal["low", "high"] | None = None,
    num_widened: int = 0,
    num_first: int | None = None,
    is_final: bool = True,
    space: Mapping[str, Dimension] | None = None,
) -> SearchRecord:
    """Return how a study's setting was found.

    Args:
        study: Whose search it is.
        tried: Learning rate, or settings by dotted key, -> the search loss by search seed; None: diverged.
            More losses than the search has seeds mean that the setting was confirmed.
        edge: The side at which the best lr lies on the edge of its range.
        num_widened: How often the range grew.
        num_first: How many settings the first pass had; the rest came by widening. None: all.
        is_final: False for a first report.
        space: What was varied; None: the lr, over the range tried.
    """
    pairs = (
        [({"optimizer.lr": lr}, losses) for lr, losses in tried.items()]
        if isinstance(tried, Mapping)
        else tried
    )
    trials = []
    for number, (params, losses) in enumerate(pairs):
        chosen = apply_params(study, params)
        trials.append(
            TrialRecord(
                number=number,
                params=params,
                runs=tuple(run_id(make_run(chosen, 1_000_000 + seed)) for seed in range(len(losses))),
                losses=tuple(losses),
                is_confirmed=len(losses) > study.search.seeds,
                round=int(num_first is not None and number >= num_first),
            )
        )
    candidates = [trial for trial in trials if trial.losses and None not in trial.losses]
    confirmed = [trial for trial in candidates if trial.is_confirmed] or candidates

    def mean(trial: TrialRecord) -> float:
        return sum(loss or 0.0 for loss in trial.losses) / len(trial.losses)

    lrs = [trial.params["optimizer.lr"] for trial in trials if "optimizer.lr" in trial.params]
    floats = [float(lr) for lr in lrs] or [1e-4, 1e-1]
    return SearchRecord(
        sampler=study.search.sampler,
        space=dict(space or {"optimizer.lr": Dimension(low=min(floats), high=max(floats), log=True)}),
        trials=tuple(trials),
        best=min(confirmed, key=mean).number if confirmed else None,
        edge=edge,
        num_widened=num_widened,
        is_final=is_final,
    )


def apply_params(study: Study, params: Mapping[str, Any]) -> Study:
    """Return a study with one setting of its search in place."""
    optimizer = {key.split(".")[1]: value for key, value in params.items() if key.startswith("optimizer.")}
    model = {key.split(".")[1]: value for key, value in params.items() if key.startswith("model.")}
    return msgspec.structs.replace(
        study,
        optimizer=msgspec.structs.replace(study.optimizer, **optimizer),
        model=msgspec.structs.replace(study.model, args={**study.model.args, **model}),
    )


def make_run(study: Study, seed: int) -> Run:
    """Return one run of a study."""
    return Run(
        data=study.data,
        model=study.model,
        optimizer=study.optimizer,
        schedule=study.schedule,
        precision=study.precision,
        budget=study.budget,
        recompute=study.recompute,
        compile=study.compile,
        clip_norm=study.clip_norm,
        ema=study.ema,
        device="cpu",
        threads=study.threads,
        seed=seed,
        vary=study.seeds.vary,
        sources={},
    )


def make_result(run: Run, end: float | str, machine: Machine, detail: str | None = None) -> Result:
    """Return how a run ended.

    Args:
        run: What ran.
        end: Its final loss, or the status it ended with instead.
        machine: Where.
        detail: Why it ended so.
    """
    points, steps = run.budget.evaluations + 1, run.budget.steps
    is_finished = isinstance(end, float)
    final = end if isinstance(end, float) else 0.02
    num_points = points if is_finished else points // 2
    losses = [
        final + (0.3 - final) * math.exp(-4 * index / (points - 1)) * (index < points - 1)
        for index in range(points)
    ]
    curve = Curve(
        step=tuple(index * steps // (points - 1) for index in range(num_points)),
        train_loss=(None, *losses[1:num_points]),
        val_loss=tuple(losses[:num_points]),
        elapsed_s=tuple(0.3 * index for index in range(num_points)),
        val_metrics={"psnr_db": tuple(-10 * math.log10(loss) for loss in losses[:num_points])},
    )
    return Result(
        schema=SCHEMA,
        id=run_id(run),
        run=run,
        status="finished" if is_finished else end,  # type: ignore[arg-type]
        detail=detail,
        val_loss=final if is_finished else None,
        search_loss=final if is_finished else None,
        val_loss_best=final if is_finished else None,
        train_loss=final if is_finished else None,
        val_metrics={"psnr_db": -10 * math.log10(final)} if is_finished else {},
        curve=curve,
        num_steps=steps if is_finished else steps // 2,
        diverged_step=40 if end == "diverged" else None,
        num_params=8_000,
        num_train_items=steps * run.budget.batch_size,
        train_s=3.0,
        eval_s=0.2,
        engine="eager",
        machine=machine,
        formats=make_formats(run.precision.name),
        artifacts=("learned.png", "original.png") if is_finished and run.seed == 0 else (),
        started_at="2026-11-22T14:32:00+00:00",
    )


def make_ratio(median: float, reach: float = 0.02, num_rounds: int = 20) -> Ratio:
    """Return a ratio whose interval reaches that far to either side, as a share of it."""
    return Ratio(median=median, low=median / (1 + reach), high=median * (1 + reach), num_rounds=num_rounds)


def make_formats(precision: str = "fp32", **changes: Any) -> Formats:
    """Return the formats that a precision should have, changed where asked."""
    low = {"bf16": "bfloat16", "fp16": "float16", "bf16_pure": "bfloat16"}.get(precision, "float32")
    held = (low if precision == "bf16_pure" else "float32",)
    formats = Formats(
        loss=("float32",),
        gradients=held,
        weights=held,
        state=held,
        outputs=(low,),
        autocast=low if precision in ("bf16", "fp16") else None,
        is_tf32=None,
    )
    return msgspec.structs.replace(formats, **changes)


def make_cost(
    study: Study, run: Run, machine: Machine, *, state_words: int = 2, step_s: float = 0.0021, **changes: Any
) -> Cost:
    """Return what a step of a study costs, with every field filled, changed where asked.

    Args:
        study: Whose step it is.
        run: One of its runs.
        machine: Where.
        state_words: Optimizer state, in words per parameter.
        step_s: The mean step; the other times follow it, the reference step stays at 2 ms.
        **changes: To the cost.
    """
    params = 4 * 8_000
    state = state_words * params
    peak = 2 * params + state + 600_000
    return msgspec.structs.replace(
        Cost(
            schema=SCHEMA,
            id=cost_id(Metering(run=run, meter=study.meter)),
            cell_id=cell_id(run),
            run=run,
            status="finished",
            detail=None,
            num_steps=100,
            step_mean_s=step_s,
            step_p50_s=0.95 * step_s,
            step_p99_s=1.5 * step_s,
            step_p25_s=0.93 * step_s,
            step_p75_s=1.02 * step_s,
            items_per_s=1024 / step_s,
            clock="thread_cpu",
            period=1,
            num_params=8_000,
            params_bytes=params,
            grads_bytes=params,
            state_bytes=state,
            peak_bytes=peak,
            peak_source="cpu_allocator_events",
            workspace_bytes=None,
            reserved_bytes=None,
            notes=(),
            reference=Reference(
                step_p50_s=0.002, ratio=make_ratio(0.95 * step_s / 0.002), noise=make_ratio(1.0, 0.03)
            ),
            breakdown=Breakdown(
                data_s=0.02 * step_s,
                forward_s=0.3 * step_s,
                backward_s=0.5 * step_s,
                optimizer_s=0.13 * step_s,
                host_s=None,
            ),
            update=Update(
                step_s=0.12 * step_s,
                ideal_bytes=28 * 8_000,
                roof_bytes_per_s=9e9,
                floor_s=1e-5,
                bound="bandwidth",
            ),
            arithmetic=Arithmetic(
                model_flops=4.9e7,
                hardware_flops=4.9e7,
                peak_flops_per_s=6e10,
                peak_source="measured",
                is_lower_bound=False,
            ),
            predicted=Memory(
                params_bytes=params,
                buffers_bytes=0,
                grads_bytes=params,
                state_bytes=state,
                saved_bytes=500_000,
                batch_bytes=20_000,
                peak_bytes=peak,
                phase="backward",
                phases={"forward": peak - 90_000, "backward": peak, "optimizer": peak - 500_000},
                is_lower_bound=False,
            ),
            compiling=None,
            clocks=None,
            formats=make_formats(run.precision.name),
            machine=machine,
        ),
        **changes,
    )


def make_bare_cost(cost: Cost) -> Cost:
    """Return a cost of which only the step time and the peak could be measured."""
    names = (
        "step_p25_s step_p75_s period workspace_bytes reserved_bytes reference breakdown update arithmetic "
        "predicted compiling clocks formats"
    )
    absent: dict[str, Any] = dict.fromkeys(names.split())
    return msgspec.structs.replace(cost, **absent)


def make_gpu_cost(cost: Cost, **changes: Any) -> Cost:
    """Return a cost as a GPU's meter fills it: events, host time, clocks, workspace and reserved memory."""
    assert cost.breakdown is not None and cost.step_mean_s is not None and cost.peak_bytes is not None
    assert cost.predicted is not None
    peak = cost.predicted.peak_bytes + 33_554_432
    settings: dict[str, Any] = {
        "clock": "cuda_event",
        "peak_source": "cuda_allocator",
        "workspace_bytes": 33_554_432,
        "peak_bytes": cost.peak_bytes + 33_554_432,
        "reserved_bytes": 67_108_864,
        "predicted": msgspec.structs.replace(cost.predicted, workspace_bytes=33_554_432, peak_bytes=peak),
        "breakdown": msgspec.structs.replace(cost.breakdown, host_s=0.4 * cost.step_mean_s),
        "compiling": Compiling(cold_s=41.0, warm_s=6.5, num_recompiles=1, break_even_steps=52_000.0),
        "clocks": Clocks(
            sm_mhz=(1980.0, 1980.0), power_w=(410.0, 415.0), temperature_c=(51.0, 53.0), throttle_reasons=()
        ),
    }
    return msgspec.structs.replace(cost, **{**settings, **changes})


def write_sweep(
    root: Path,
    cells: Sequence[tuple[Study, Sequence[float | str]]],
    *,
    name: str = "adam-adamw-1f0c9a",
    details: Mapping[str, str] | None = None,
    machine: Machine | None = None,
    search: Sequence[SearchRecord | None] = (),
    price: Callable[[Cost], Cost | None] | None = None,
    **changes: Any,
) -> Path:
    """Write a sweep's folder and its results.

    Args:
        root: `results/`.
        cells: Each study, and per seed its final loss or the status it ended with; "absent" leaves nothing.
        name: The sweep's.
        details: Status -> reason.
        machine: Where it all ran.
        search: How each study's setting was found, in the order of the cells; its best is what ran.
        price: What becomes of each cell's cost; where it returns None, nothing was metered.
        **changes: To the manifest.

    Returns:
        The sweep's folder.
    """
    store = Store(root)
    machine = machine or make_machine()
    records: dict[str, StudyRecord] = {}
    for number, (study, ends) in enumerate(cells):
        found = search[number] if number < len(search) else None
        best = found.trials[found.best] if found is not None and found.best is not None else None
        settled = apply_params(study, best.params) if best is not None else study
        runs = tuple(make_run(settled, seed) for seed in range(len(ends)))
        unsettled = {}
        for run, end in zip(runs, ends, strict=True):
            if end == "absent":
                continue
            result = make_result(run, end, machine, (details or {}).get(str(end)))
            pictures = (
                {"original.png": draw_picture(0.0), "learned.png": draw_picture(0.2)}
                if result.artifacts
                else None
            )
            store.publish(result, pictures)
            if result.status not in SETTLED:
                unsettled[result.id] = result
        has_cost = any(isinstance(end, float) for end in ends)
        cost = (
            make_cost(study, runs[0], machine, state_words=0 if study.optimizer.name == "sgd" else 2)
            if has_cost
            else None
        )
        if cost is not None and price is not None:
            cost = price(cost)
        if cost is not None:
            store.publish_cost(cost)
        records[f"{number:03d}.json"] = StudyRecord(
            machine=machine,
            schema=SCHEMA,
            study=study,
            runs=runs,
            metering_id=cost.id if cost else None,
            unsettled=unsettled,
            search=found,
        )
    manifest = Manifest(
        schema=SCHEMA,
        name=name,
        command=COMMAND,
        started_at="2026-11-22T14:32:00+00:00",
        ended_at="2026-11-22T14:33:12+00:00",
        wall_s=72.0,
        is_interrupted=False,
        studies=tuple(records),
        machine=machine,
    )
    return store.write_sweep(msgspec.structs.replace(manifest, **changes), records)


def draw_picture(noise: float) -> bytes:
    """Return a small PNG: a gradient, blurred by noise."""
    rows, columns = np.mgrid[0:32, 0:48]
    image = np.stack([rows / 32, columns / 48, np.full((32, 48), 0.5)], axis=-1)
    image = np.clip(image + noise * np.random.default_rng(0).standard_normal(image.shape), 0, 1)
    buffer = io.BytesIO()
    Image.fromarray((255 * image).astype(np.uint8)).save(buffer, format="PNG")
    return buffer.getvalue()
