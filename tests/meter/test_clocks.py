"""A GPU's state is logged where the driver can be asked, and its absence is a reason, never a failure."""

from __future__ import annotations

import types

import pytest
import torch

from bench.meter.clocks import ClockLog


def test_samples_are_kept_in_their_units(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = types.SimpleNamespace(nvmlDeviceGetCurrentClocksThrottleReasons=lambda handle: 0x24)
    monkeypatch.setattr(torch.cuda, "pynvml", nvml, raising=False)
    monkeypatch.setattr(torch.cuda, "_get_pynvml_handler", lambda: None)
    monkeypatch.setattr(torch.cuda, "clock_rate", lambda: 1980)
    monkeypatch.setattr(torch.cuda, "power_draw", lambda: 412_300)
    monkeypatch.setattr(torch.cuda, "temperature", lambda: 54)
    log = ClockLog()
    log.look()
    log.look()
    found = log.conclude()
    assert found is not None and log.trouble is None
    assert (found.sm_mhz, found.power_w, found.temperature_c) == ((1980.0,) * 2, (412.3,) * 2, (54.0,) * 2)
    assert found.throttle_reasons == ("power cap", "thermal, software")


def test_without_the_library_there_are_no_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> int:
        raise ModuleNotFoundError("pynvml does not seem to be installed\nor it can't be imported")

    monkeypatch.setattr(torch.cuda, "clock_rate", fail)
    log = ClockLog()
    log.look()
    log.look()
    assert log.conclude() is None
    assert log.trouble == "pynvml does not seem to be installed"
