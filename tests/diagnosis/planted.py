"""Ten planted illnesses and ten healthy trainings, each looked at by all that may name them.

`python -m tests.diagnosis.planted` prints what was said of each, and the confusion table.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn

from bench import build
from bench.data.arrays import Arrays
from bench.data.dataset import DataSet
from bench.diagnosis.rules import diagnose
from bench.probes import probe
from bench.report.shipped import default_health
from bench.soundness.rows import examine
from bench.spec import Run
from bench.train import train
from tests.composing import compose_run
from tests.records import MACHINE


class Case(NamedTuple):
    """One training: what is planted in it, and what has to be said of it."""

    name: str
    # A part of the line, or the diagnosis of the curve.
    expected: str
    run: Run
    change: Callable[[Arrays], None] | None = None
    wrap: Callable[[nn.Module], None] | None = None


def list_cases() -> list[Case]:
    """Return the illnesses, then the controls."""
    digits = _compose("optimizer.lr=3e-3")
    deep = _compose("model.depth=20", "model.activation=sigmoid")
    lstm = ("optimizer=sgd", "optimizer.lr=300", "budget.steps=40", "budget.evaluations=10")
    few = _compose("model.width=128", "optimizer.lr=3e-3", "budget.steps=600", "budget.evaluations=20")
    return [
        Case("lr 1e-7", "flat", _compose("optimizer.lr=1e-7")),
        Case("lr 1e3", "exploding", _compose("optimizer=sgd", "optimizer.lr=1e3")),
        Case("rnn without clipping", "exploding", _compose(*lstm, workload="kjv_lstm")),
        Case("sigmoid mlp, 20 layers", "not learned by heart", deep),
        Case("shuffled labels", "with shuffled ones", digits, _shuffle),
        Case("leakage of 10 %", "validation inputs (10.0%)", digits, _leak),
        Case("a sequence of length 0", "holds nothing", digits, _empty),
        Case("a NaN pixel", "NaN or infinity", digits, _plant_nan),
        Case("fp16 underflow, no scaler", "flat", digits, None, _underflow),
        Case("200 parameters a sample", "overfitting", few, _keep_few),
        *(
            Case(f"{workload}, {optimizer}", "healthy", _compose(f"optimizer={optimizer}", workload=workload))
            for workload, optimizer in (
                ("digits_mlp", "adamw"),
                ("digits_mlp", "sgd"),
                ("digits_mlp", "momentum"),
                ("digits_mlp", "lion"),
                ("photo_mlp", "adamw"),
                ("photo_mlp", "momentum"),
                ("gaussian_mlp", "adamw"),
                ("gaussian_mlp", "sgd"),
                ("digits_denoiser", "adamw"),
                ("quadratic", "adam"),
            )
        ),
    ]


def name(case: Case) -> list[str]:
    """Return all that is said of a training, "healthy" where that is nothing."""
    load_data, build_model = build.load_data, build.build_model

    def load_changed(spec: object, device: str) -> DataSet:
        data = load_data(spec, device)  # type: ignore[arg-type]
        if case.change is not None:
            assert isinstance(data, Arrays)
            case.change(data)
        return data

    def build_wrapped(run: Run, data: DataSet) -> nn.Module:
        model = build_model(run, data)
        if case.wrap is not None:
            case.wrap(model)
        return model

    build.load_data, build.build_model = load_changed, build_wrapped
    try:
        rows = examine(build.load_data(case.run.data, "cpu"), is_thorough=True)
        said = [str(one) for one in rows if one.severity != "note"]
        # As the command does: with an error in the rows nothing is trained.
        if any(one.severity == "error" for one in rows):
            return said
        said += [str(one) for one in probe(case.run) if one.severity != "note"]
        found = diagnose(train(case.run, MACHINE)[0], default_health())
        said += [f"{found.kind}: {found.evidence}"] if found.kind != "healthy" else []
        return said or ["healthy"]
    finally:
        build.load_data, build.build_model = load_data, build_model


def is_right(case: Case, said: list[str]) -> bool:
    """Return whether what was expected was said; of a control, whether nothing else was."""
    if case.expected == "healthy":
        return said == ["healthy"]
    return any(line.startswith(case.expected) or case.expected in line for line in said)


def main() -> None:
    """Print a line for each training, and the table."""
    counts = {(is_ill, is_named): 0 for is_ill in (True, False) for is_named in (True, False)}
    num_right = 0
    for case in list_cases():
        said = name(case)
        right = is_right(case, said)
        num_right += right
        counts[case.expected != "healthy", said != ["healthy"]] += 1
        print(f"{'ok ' if right else 'NOT'} {case.name:26} {'; '.join(said)[:150]}", flush=True)
    print(f"\n{'':10} {'called ill':>10} {'called healthy':>15}")
    for word, is_ill in (("ill", True), ("healthy", False)):
        print(f"{word:10} {counts[is_ill, True]:>10} {counts[is_ill, False]:>15}")
    print(f"named right: {num_right} of {sum(counts.values())}")


def _compose(*overrides: str, workload: str = "digits_mlp") -> Run:
    return compose_run(*overrides, "precision=fp32", workload=workload)


def _shuffle(data: Arrays) -> None:
    order = torch.randperm(data.num_train_rows, generator=torch.Generator().manual_seed(0))
    data.train_targets = data.train_targets[order]


def _leak(data: Arrays) -> None:
    num = round(0.1 * data.num_val_rows)
    data.val_inputs = torch.cat([data.train_inputs[:num], data.val_inputs[num:]])


def _empty(data: Arrays) -> None:
    data.train_inputs = data.train_inputs[..., :0]


def _plant_nan(data: Arrays) -> None:
    data.train_inputs = data.train_inputs.clone()
    data.train_inputs[7, 0, 3, 3] = float("nan")


def _keep_few(data: Arrays) -> None:
    num = 100
    data.train_inputs, data.train_targets = data.train_inputs[:num], data.train_targets[:num]
    data.num_train_rows = num
    data._order = type(data._order)(num)


def _underflow(model: nn.Module) -> None:
    """Have gradients pass through fp16 at a size that it can't hold, as without a loss scaler."""
    for parameter in model.parameters():
        parameter.register_hook(lambda gradient: (gradient * 1e-7).half().float() * 1e7)


if __name__ == "__main__":
    main()
