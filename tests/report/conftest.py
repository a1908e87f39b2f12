"""One golden sweep with everything that can go wrong in it, built once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from bench.report.build import build, default_sections
from bench.spec import Study
from tests.sweeps import make_study, write_sweep

GOLDEN: tuple[tuple[str, list[float | str]], ...] = (
    ("adamw", [0.0100, 0.0102, 0.0103]),
    ("adam", [0.0101, 0.01025, 0.0103]),
    ("muon", [0.0090, 0.0091, 0.0093]),
    ("sgd", [0.0190, 0.0191, 0.0193]),
    ("lion", [0.0098, 0.0111, 0.0102]),
    ("wild", [0.0120, "diverged", 0.0102]),
    ("partial", [0.0100, "oom", 0.0103]),
    ("broken", ["failed", "failed", "failed"]),
    ("exotic", ["unsupported", "unsupported", "unsupported"]),
    ("short", [0.0101, 0.0103]),
    ("forgotten", ["absent", "absent", "absent"]),
)
DETAILS = {
    "failed": "ValueError: betas wants 2 values, got 3",
    "unsupported": "no bf16 on this CPU",
    "oom": "out of memory at step 3",
}


def make_golden(cells: Sequence[tuple[str, list[float | str]]]) -> list[tuple[Study, list[float | str]]]:
    """Return the golden sweep's studies in the order of the cells given."""
    return [(make_study(name, weight_decay=0.0 if name == "adam" else 0.01), ends) for name, ends in cells]


@pytest.fixture(scope="session")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the golden sweep, its report built with the default sections."""
    root = tmp_path_factory.mktemp("golden") / "results"
    folder = write_sweep(root, make_golden(GOLDEN), details=DETAILS)
    build(folder, default_sections(), None)
    return folder
