"""How far populations are from runs by themselves, as tables in Markdown.

python -m tests.population_tables 200 [model ...]               in float64, every optimizer on each model
python -m tests.population_tables magnified 200 [model ...]     eager runs that start a last digit apart
python -m tests.population_tables float32 200 [workload ...]    beside what a second CPU thread does
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

import torch

from bench.engine.single import Single
from bench.spec import Run
from tests.composing import compose_run
from tests.populations import LRS, MODELS, find_worst, make, replace, train_all, train_each, vary


def print_table(steps: int, models: Sequence[str]) -> None:
    """Print the worst relative difference of every optimizer on models, as a table in Markdown."""
    print("| model |", " | ".join(LRS), "|\n|" + "---|" * (1 + len(LRS)))
    for model in models:
        row = []
        for name in LRS:
            runs = vary(make(model, steps=steps), name, 2 if "resnet" in model else 4)
            row.append(f"{find_worst(train_all(runs), train_each(runs)):.0e}")
        print(f"| {model} |", " | ".join(row), "|", flush=True)


def print_magnified(steps: int, models: Sequence[str]) -> None:
    """Print how far apart eager runs end whose first weights differ by a unit in the last place."""
    print("| model | optimizer | first 5 steps | all |\n|---|---|---|---|")
    for model in models:
        for name in LRS:
            apart = [move(run) for run in vary(make(model, steps=steps), name, 2)]
            early, late = max(max(each[:5]) for each in apart), max(max(each) for each in apart)
            print(f"| {model} | {name} | {early:.0e} | {late:.0e} |", flush=True)


def move(run: Run) -> list[float]:
    """Return how far apart each training loss of two eager runs is that start a last digit apart."""
    pairs = zip(take_losses(run), take_losses(run, is_moved=True), strict=True)
    return [abs(one - other) / abs(one) for one, other in pairs]


def take_losses(run: Run, *, is_moved: bool = False) -> list[float]:
    """Return the training losses of an eager run, from its own weights or from neighbours on either side."""
    single = Single(run)
    if is_moved:
        draw = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for weight in single.model.parameters():
                side = torch.randn(weight.shape, generator=draw).to(weight) * math.inf
                weight.copy_(torch.nextafter(weight, side))
    single.set_mode(is_training=True)
    return [single.step(step).item() for step in range(run.budget.steps)]


# In float32: what a workload takes, cut to so many steps, and what lets two thread counts share its products.
SINGLE = {
    "digits_mlp": (),
    "digits_mlp, batch 512": ("budget.batch_size=512",),
    "digits_cnn": (),
    "photo_mlp": (),
    "kjv_gpt": (),
    "digits_denoiser": (),
}


def print_noise(steps: int, workloads: Sequence[str]) -> None:
    """Print how far float32 losses of a population are from eager ones, and what moves those as well."""
    print("| workload | optimizer | population | two threads | last digit | steps |\n|" + "---|" * 6)
    for workload in workloads:
        words = (*SINGLE[workload], f"budget.steps={steps}", "budget.evaluations=2")
        for name in ("sgd", "momentum", "adam", "adamw"):
            base = compose_run(f"optimizer={name}", *words, workload=workload.partition(",")[0])
            runs = [replace(base, seed=seed) for seed in range(3)]
            alone = train_each(runs)
            together = find_worst(train_all(runs), alone, is_all=False)
            threads = find_worst(train_each([replace(run, threads=2) for run in runs]), alone, is_all=False)
            moved = max(max(move(run)) for run in runs)
            print(
                f"| {workload} | {name} | {together:.0e} | {threads:.0e} | {moved:.0e} | {steps} |",
                flush=True,
            )


if __name__ == "__main__":
    if sys.argv[1] == "float32":
        print_noise(int(sys.argv[2]), sys.argv[3:] or list(SINGLE))
    elif sys.argv[1] == "magnified":
        print_magnified(int(sys.argv[2]), sys.argv[3:] or list(MODELS))
    else:
        print_table(int(sys.argv[1]), sys.argv[2:] or list(MODELS))
