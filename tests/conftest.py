"""What every test shares: a patient hypothesis, and one warm process that others are forked from."""

from __future__ import annotations

import gc
import multiprocessing
import multiprocessing.forkserver
import sys
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")

PRELOADED = [
    "bench.cli",
    "bench.train",
    "bench.meter.step",
    "torch._dynamo",
    "bench.report.build",
    "tests.search.searching",
    "optuna._gp.optim_mixed",
    # Last: it keeps what the others made from the garbage collector.
    "tests.settled",
]


def pytest_collection_finish() -> None:
    """Keep what was imported from the garbage collector: it would look through half a million objects,
    a quarter of a second each time, for each test that measures memory or time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _warm_server() -> None:
    """Start the one fork server of this process, with what any test wants imported in it.

    Later calls can't change what it has imported, so it is started before them; it imports in the background.
    """
    multiprocessing.set_forkserver_preload(PRELOADED)
    multiprocessing.forkserver.ensure_running()


@pytest.fixture(autouse=True)
def _denormals() -> Iterator[None]:
    """A training run flushes denormals in the whole process; hypothesis wants them back."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_flush_denormal(False)
