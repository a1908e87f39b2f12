"""From a study to one of its runs: every value settled, nothing left to a default."""

from __future__ import annotations

import msgspec

from bench.errors import SpecError
from bench.sources import digest_sources
from bench.spec import Precision, Run, Study


def resolve(spec: Study, seed: int, device: str) -> Run:
    """Return one run of a study with nothing left open.

    `lr: auto` that no search chose is the workload's lr for the optimizer, else its declared default.

    Raises:
        SpecError: Seeds are to change a split that the data does not have.
    """
    optimizer, data = spec.optimizer, spec.data
    if optimizer.lr == "auto":
        lr = spec.workload.lr.get(optimizer.name, optimizer.search.lr.default)
        optimizer = msgspec.structs.replace(optimizer, lr=lr)
    if "split" in spec.seeds.vary:
        if "split_seed" not in data.args:
            raise SpecError(f"seeds.vary: split wants data with a split_seed, {data.name} has none")
        # The YAML's split is that of seed 0.
        args = data.args | {"split_seed": data.args["split_seed"] + seed}
        data = msgspec.structs.replace(data, args=args)
    return Run(
        data=data,
        model=spec.model,
        optimizer=optimizer,
        schedule=spec.schedule,
        precision=name_precision(spec.precision, device),
        budget=spec.budget,
        recompute=spec.recompute,
        compile=spec.compile,
        watch=spec.watch,
        clip_norm=spec.clip_norm,
        ema=spec.ema,
        device=device,  # type: ignore[arg-type]
        threads=spec.threads,
        processes=spec.processes,
        seed=seed,
        vary=spec.seeds.vary,
        sources=digest_sources([data.target, spec.model.target, optimizer.target]),
    )


def name_precision(precision: Precision, device: str) -> Precision:
    """Return the precision that is meant on a device: `auto` is bf16 on a GPU and fp32 on anything else.

    `mixed` is a half format anywhere: fp16 with a loss scaler on CUDA, bf16 elsewhere.
    """
    if precision.name == "mixed":
        return Precision(name="fp16" if device == "cuda" else "bf16")
    if precision.name != "auto":
        return precision
    return Precision(name="bf16" if device == "cuda" else "fp32")


def is_held_here(spec: Study | Run) -> bool:
    """Return whether a model or data exist in the running program only."""
    return any(target.startswith("bench.held.") for target in (spec.data.target, spec.model.target))
