"""Curves of planted illnesses and of healthy trainings: each is named, and nothing healthy is called ill."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.diagnosis.rules import diagnose
from bench.health import Watch
from bench.report.shipped import default_health
from bench.result import Curve, Result
from tests.records import make_optimizer, make_result, make_run

LINES = default_health()
HEALTHY = (2.3, 1.2, 0.8, 0.6, 0.5, 0.45, 0.42, 0.41, 0.405, 0.4, 0.4)


def make(val: Sequence[float | None], train: Sequence[float | None] | None = None, **changes: Any) -> Result:
    """Return a run with such a curve, validation from before training on; training is alike if not given."""
    train = (None, *val[1:]) if train is None else (None, *train)
    curve = Curve(
        step=tuple(range(0, 10 * len(val), 10)),
        train_loss=train,
        val_loss=tuple(val),
        elapsed_s=tuple(float(index) for index in range(len(val))),
        val_metrics={},
    )
    return make_result(**({"curve": curve, "num_steps": 10 * (len(val) - 1)} | changes))


def slide(start: float, end: float, num: int = 10) -> list[float]:
    """Return a loss that falls by as much at each point."""
    return [start + (end - start) * index / num for index in range(num + 1)]


@pytest.mark.parametrize(
    ("kind", "result"),
    [
        ("healthy", make(HEALTHY)),
        ("healthy", make([4.17, 2.6, 2.3, 2.1, 2.0, 1.9, 1.85, 1.8, 1.77, 1.75, 1.748])),
        # A minimum of next to nothing, reached through noise: neither a turn nor noise of the whole.
        ("healthy", make([5.6, 0.6, 0.01, 2e-3, 3e-4, 6e-4, 2e-5, 4e-5, 1e-6, 3e-6, 1e-6])),
        # Validation a little above its lowest, as at the end of many a good training.
        ("healthy", make([*HEALTHY[:-3], 0.39, 0.40, 0.41], [*HEALTHY[1:-3], 0.3, 0.28, 0.26])),
        ("flat", make(slide(2.303, 2.300))),
        ("flat", make([2.3] * 11)),
        ("flat", make([2.30, 2.34, 2.6, 2.36, 2.33, 2.32, 2.31, 2.31, 2.30, 2.30, 2.30])),
        ("exploding", make([0.3, 3e8, 5e8, 7e8, 8e8, 8e8, 9e8, 9e8, 9e8, 9e8, 1e9])),
        ("exploding", make([2.3, 2.9, 3.5, 3.2, 3.1, 3.0, 3.0, 2.9, 2.9, 2.9, 2.9])),
        ("exploding", make([2.3, 1e12], status="diverged", detail="training loss was inf at step 12")),
        ("exploding", make([2.3], status="diverged", detail="training loss was nan at step 3")),
        ("diverged", make(HEALTHY[:6], status="diverged", detail="training loss was nan at step 57")),
        (
            "overfitting",
            make(
                [2.3, 1.6, 1.2, 1.1, 1.08, 1.12, 1.2, 1.3, 1.4, 1.5, 1.6],
                [2.0, 1.4, 1.0, 0.8, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1],
            ),
        ),
        # Labels that belong to other inputs: learned by heart, and worth nothing.
        (
            "overfitting",
            make([2.3, 2.31, 2.33, 2.4, 2.6, 2.8, 3.1, 3.4, 3.8, 4.1, 4.4], slide(2.3, 0.5, 9)),
        ),
        ("noisy", make([1.0, 1.7, 1.1, 3.1, 1.1, 2.6, 0.1, 0.2, 0.1, 0.03, 0.03])),
        ("underfit", make(slide(2.3, 2.1))),
        ("underfit", make(slide(2.3, 0.9))),
        ("unclear", make(HEALTHY[:4])),
        ("unclear", make(HEALTHY, status="oom", detail="out of memory")),
    ],
)
def test_a_curve_is_named(kind: str, result: Result) -> None:
    found = diagnose(result, LINES)
    assert found.kind == kind, found
    assert found.evidence and "\n" not in found.evidence
    assert (found.advice is None) == (kind in ("healthy", "unclear"))


def test_what_is_too_slow_gets_more_and_what_runs_away_gets_less() -> None:
    run = make_run(optimizer=make_optimizer(lr=0.1))
    slow = diagnose(make(slide(2.303, 2.300), run=run), LINES)
    fast = diagnose(make([2.3, 9.0, 30.0, 80.0, 90.0, 99.0], run=run), LINES)
    assert slow.overrides == {"optimizer.lr": "1"}
    assert fast.overrides == {"optimizer.lr": "0.01", "clip_norm": "1.0"}
    bounded = msgspec.structs.replace(run, clip_norm=0.5)
    assert diagnose(make([2.3, 9.0, 30.0, 80.0, 90.0, 99.0], run=bounded), LINES).overrides == {
        "optimizer.lr": "0.01"
    }


def test_labels_that_belong_to_other_inputs_send_to_the_data() -> None:
    found = diagnose(make([2.3, 2.31, 2.33, 2.4, 2.6, 2.8, 3.1], slide(2.3, 0.5, 5)), LINES)
    assert found.overrides == {"do": "check"} and "2.3" in found.evidence


def test_skipped_steps_are_told_from_a_low_lr() -> None:
    found = diagnose(make([2.3] * 11, num_skipped_steps=90), LINES)
    assert found.kind == "flat" and found.overrides == {"precision": "bf16"}


def test_the_gradients_tell_what_the_curve_does_not() -> None:
    def watch(*norms: tuple[float | None, ...]) -> Watch:
        return Watch(layers=("first", "last"), step=tuple(range(len(norms))), gradient_norm=norms)

    healthy = make(HEALTHY)
    assert diagnose(healthy, LINES, watch((0.5, 0.6), (0.4, 0.5))).kind == "healthy"
    assert diagnose(healthy, LINES, watch((0.5, 0.6), (40.0, 0.5))).kind == "exploding"
    vanishing = diagnose(healthy, LINES, watch((1e-9, 0.6), (1e-8, 0.5)))
    assert vanishing.kind == "vanishing" and "first" in vanishing.evidence and "last" in vanishing.evidence
    # Samples that are no numbers say nothing here.
    assert diagnose(healthy, LINES, watch((None, None), (None, 1.0))).kind == "healthy"


@pytest.mark.parametrize(
    ("changes", "curve", "kind"),
    [
        ({"flat": 0.9}, HEALTHY, "flat"),
        ({"min_points": 20}, HEALTHY, "unclear"),
        ({"exploding": 2.0}, (2.3, 2.9, 3.5, 3.2, 3.1, 3.0, 2.9), "flat"),
        ({"little": 0.05}, tuple(slide(2.3, 2.1)), "underfit"),
        ({"little": 0.05, "late": 0.5}, tuple(slide(2.3, 2.1)), "healthy"),
        ({"noisy": 9.0, "late": 0.9}, (1.0, 1.7, 1.1, 3.1, 1.1, 2.6, 0.1, 0.2, 0.1, 0.03, 0.03), "healthy"),
    ],
)
def test_every_line_can_be_moved(changes: dict[str, float], curve: tuple[float, ...], kind: str) -> None:
    assert diagnose(make(curve), msgspec.structs.replace(LINES, **changes)).kind == kind


LOSSES = st.lists(st.one_of(st.none(), st.floats(-1e30, 1e30, allow_nan=False)), min_size=1, max_size=12)


@given(LOSSES, LOSSES, st.sampled_from(["finished", "diverged"]))
def test_any_curve_gets_one_diagnosis(
    val: list[float | None], train: list[float | None], status: str
) -> None:
    num = min(len(val), len(train))
    found = diagnose(make(val[:num], train[: num - 1] or None, status=status), LINES)
    assert found.evidence


@given(st.lists(st.floats(0.1, 0.99), min_size=6, max_size=12), st.floats(0.01, 1000))
def test_the_unit_of_a_loss_does_not_matter(shares: list[float], unit: float) -> None:
    losses = [1.0]
    for share in shares:
        losses.append(losses[-1] * share)
    assert all(after < before for before, after in pairwise(losses))
    kinds = {diagnose(make([factor * loss for loss in losses]), LINES).kind for factor in (1.0, unit)}
    assert len(kinds) == 1
