"""The meter compares a cell with itself, twenty times: it finds no difference, and knows how sure it is."""

from __future__ import annotations

import statistics

import pytest

from bench.meter.cell import reference_run
from bench.meter.process import measure_all
from bench.spec import Metering
from tests.composing import compose_run, compose_study
from tests.records import MACHINE

REPEATS = 20


@pytest.mark.parametrize("workload", ["photo_mlp", "digits_mlp"])
def test_a_cell_takes_as_long_as_itself(workload: str, capsys: pytest.CaptureFixture[str]) -> None:
    # The cell is its own reference: another copy of the same model, the same everything.
    run, meter = reference_run(compose_run(workload=workload)), compose_study(workload=workload).meter
    metering = Metering(run=run, meter=meter)
    lines, ratios = [f"\n{workload}: ratio [95 % interval]; A/A of the same copy; rounds; step ms"], []
    for cost in measure_all([(metering, MACHINE)] * REPEATS):
        assert cost.reference is not None, cost
        ratio, noise = cost.reference.ratio, cost.reference.noise
        ratios.append(ratio)
        lines.append(
            f"{ratio.median:.3f} [{ratio.low:.3f}, {ratio.high:.3f}]; "
            f"{noise.median:.3f} [{noise.low:.3f}, {noise.high:.3f}]; {ratio.num_rounds}; "
            f"{1e3 * cost.step_p50_s:.3f}"
        )
    median = statistics.median(ratio.median for ratio in ratios)
    num_covered = sum(ratio.low <= 1 <= ratio.high for ratio in ratios)
    lines.append(f"median ratio {median:.4f}; the interval covers 1 in {num_covered} of {REPEATS}")
    with capsys.disabled():
        print("\n".join(lines))
    assert 0.97 <= median <= 1.03
    assert num_covered >= 17
