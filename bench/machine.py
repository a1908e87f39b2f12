"""What this machine is: the device, its name, the versions and the commit that go beside every number."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Literal

from bench.errors import Unsupported
from bench.result import Machine

Device = Literal["cpu", "cuda", "mps"]


def resolve_device(requested: str) -> Device:
    """Return the device kind that a request means on this machine.

    torch is imported only where an accelerator may be present, so a laptop answers at once.

    Args:
        requested: "auto" or a kind.

    Raises:
        Unsupported: The kind asked for is not there; never a silent fall-back.
    """
    present: list[Device] = ["cpu"]
    if requested != "cpu" and may_have_accelerator():
        import torch

        if torch.backends.mps.is_available():
            present.insert(0, "mps")
        if torch.cuda.is_available():
            present.insert(0, "cuda")
    if requested == "auto":
        return present[0]
    for kind in present:
        if kind == requested:
            return kind
    raise Unsupported(f"device={requested}: this machine has {', '.join(present)} only")


def describe(device: Device, num_threads: int, device_name: str | None = None) -> Machine:
    """Return the record of this machine.

    Args:
        device: The kind that computes.
        num_threads: CPU threads torch is held to.
        device_name: What `name_device` gives, where that was asked of another process.
    """
    commit, is_dirty = _commit(Path.cwd())
    return Machine(
        device=device,
        device_name=device_name or name_device(device),
        num_threads=num_threads,
        num_cpus=os.cpu_count() or 1,
        platform=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        torch=package_version("torch"),
        bench=package_version("bench"),
        commit=commit,
        is_dirty=is_dirty,
    )


def package_version(name: str) -> str:
    """Return an installed distribution's version without importing it, or "unknown"."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def may_have_accelerator() -> bool:
    """Return whether it takes torch to know which devices there are."""
    if sys.platform == "darwin" or sys.platform == "win32":
        return True
    return any(Path(node).exists() for node in ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd"))


@functools.cache
def name_device(device: Device) -> str:
    """Return the name of the device that computes; of a GPU it takes starting CUDA to know it."""
    if device == "cuda":
        import torch

        return str(torch.cuda.get_device_name())
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@functools.cache
def _commit(folder: Path) -> tuple[str | None, bool | None]:
    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10, check=True
        )
        return done.stdout.strip()

    try:
        return git("rev-parse", "HEAD"), bool(git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return None, None
