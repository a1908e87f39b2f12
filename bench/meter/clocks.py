"""A GPU's clocks, power and heat while it is measured, where the driver's library is installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from bench.cost import Clocks

# Source: NVIDIA's NVML reference, group nvmlClocksEventReasons. Idle and a user's own limits are no trouble.
_REASONS = {
    0x0004: "power cap",
    0x0008: "hardware slowdown",
    0x0010: "sync boost",
    0x0020: "thermal, software",
    0x0040: "thermal, hardware",
    0x0080: "power brake",
    0x0100: "display clocks",
}
_ALL_READERS = ("nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons")


class ClockLog:
    """Samples of one GPU, taken while it works; without NVIDIA's library there are none."""

    def __init__(self) -> None:
        self._sm_mhz: list[float] = []
        self._power_w: list[float] = []
        self._temperature_c: list[float] = []
        self._reasons: set[str] = set()
        self.trouble: str | None = None

    def look(self) -> None:
        """Take one sample; the host waits for the driver, never for the device."""
        if self.trouble is not None:
            return
        try:
            self._sm_mhz.append(float(torch.cuda.clock_rate()))
            self._power_w.append(torch.cuda.power_draw() / 1e3)
            self._temperature_c.append(float(torch.cuda.temperature()))
            self._reasons |= set(_name_reasons(_read_reasons()))
        except Exception as error:
            # The library is absent, too old, or not allowed to look: figures are none the worse for it.
            self.trouble = (str(error).strip().splitlines() or [type(error).__name__])[0][:120]

    def conclude(self) -> Clocks | None:
        """Return the samples, or None when there are none."""
        if not self._temperature_c:
            return None
        return Clocks(
            sm_mhz=tuple(self._sm_mhz),
            power_w=tuple(self._power_w),
            temperature_c=tuple(self._temperature_c),
            throttle_reasons=tuple(sorted(self._reasons)),
        )


def _read_reasons() -> int:
    """Return the driver's bits for why clocks are below what was asked for."""
    # Any: torch keeps the library it found under its own name, and neither has types.
    torch_cuda: Any = torch.cuda
    nvml, handle = torch_cuda.pynvml, torch_cuda._get_pynvml_handler()
    readers: list[Callable[[Any], int]] = [
        getattr(nvml, name) for name in _ALL_READERS if hasattr(nvml, name)
    ]
    return int(readers[0](handle)) if readers else 0


def _name_reasons(bits: int) -> list[str]:
    return [name for bit, name in _REASONS.items() if bits & bit]
