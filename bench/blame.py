"""Devices that runs fail on one after the other are left alone, and the sweep goes on without them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bench.cause import blames_device
from bench.result import SETTLED, Result

# A device is left alone once so many runs in a row blamed it.
MAX_BLAMES = 2


class Blame:
    """Counts who blames which device.

    Attributes:
        left_alone: Devices that get no more runs.

    Args:
        devices: Those that runs train on; None is a place without one of its own.
        say: Shows a line.
    """

    def __init__(self, devices: Sequence[str | None], say: Callable[[str], None]) -> None:
        self.left_alone: set[str | None] = set()
        self._devices = set(devices)
        self._say = say
        self._counts: dict[str, int] = {}

    def note(self, device: str | None, result: Result) -> None:
        """Take in how a run ended on a device; the last one is never left alone."""
        is_blamed = blames_device(result.status, result.detail)
        if device is None or not (is_blamed or result.status in SETTLED):
            return
        self._counts[device] = self._counts.get(device, 0) + 1 if is_blamed else 0
        if self._counts[device] >= MAX_BLAMES and self._devices - self.left_alone - {device}:
            self.left_alone.add(device)
            self._say(
                f"device {device}: {MAX_BLAMES} runs in a row failed on it; the sweep goes on without it"
            )
