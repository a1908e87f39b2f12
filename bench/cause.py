"""How a run ended, told from what its process raised or left: one status, and one plain line."""

from __future__ import annotations

import contextlib
import errno
import re
import signal
from pathlib import Path

from bench.errors import BenchError, Unsupported
from bench.result import Status

# What a program brings upon itself; any other signal came from outside.
_CRASHES = frozenset(
    getattr(signal, name)
    for name in ("SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGTRAP", "SIGSYS")
    if hasattr(signal, name)
)
_NO_MEMORY = re.compile(
    r"out of memory|can(?:'|no)t allocate memory|not enough memory|std::bad_alloc|CUBLAS_STATUS_ALLOC_FAILED"
    r"|unable to allocate",
    re.IGNORECASE,
)
_DATA_WORKER = re.compile(r"DataLoader (?:worker|timed out)")
_DEVICE = re.compile(
    r"AcceleratorError|CUDA(?: driver)? error|CUDA driver|No CUDA GPUs|cuDNN error|ECC error"
)
# Of the first line of an exception, at most so many characters.
_WIDTH = 300


def explain(error: BaseException) -> tuple[Status, str]:
    """Return how a run ended that raised something, and why."""
    line = (str(error).strip().splitlines() or ["no message"])[0][:_WIDTH]
    if isinstance(error, BenchError):
        return "unsupported" if isinstance(error, Unsupported) else "failed", str(error)
    # By name: torch need not be imported to know its exception.
    is_memory = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    is_refused = isinstance(error, OSError) and error.errno == errno.ENOMEM
    if is_memory or is_refused or (isinstance(error, RuntimeError) and _NO_MEMORY.search(str(error))):
        return "oom", line if line != "no message" else "out of memory"
    if isinstance(error, SystemExit):
        return "failed", f"SystemExit: it asked for the end of its process, with code {error.code}"
    if _DATA_WORKER.search(str(error)):
        return "failed", f"a data worker died: {line}"
    return "failed", f"{type(error).__name__}: {line}"


def explain_exit(code: int | None, log: str, *, is_memory_killed: bool = False) -> tuple[Status, str]:
    """Return how a run ended whose process did, and why.

    Args:
        code: Exit code, minus the number of a signal, or None where nobody knows.
        log: The end of what the process wrote.
        is_memory_killed: The kernel killed for want of memory meanwhile.
    """
    if code is None:
        return "killed", "the server of its process was ended from outside"
    if code >= 0:
        return "failed", f"its process ended itself with exit code {code}"
    name = f"signal {-code} ({_name_signal(-code)})"
    if -code == signal.SIGKILL and is_memory_killed:
        return "oom", "the kernel killed its process for want of memory"
    if -code in _CRASHES:
        if "bad_alloc" in log:
            return "oom", f"no memory left: its process ended with {name}"
        return "failed", f"its process crashed with {name}"
    return "killed", f"its process was ended from outside by {name}"


def blames_device(status: Status, detail: str | None) -> bool:
    """Return whether an end speaks against the device rather than against the run."""
    return status == "failed" and _DEVICE.search(detail or "") is not None


def count_memory_kills() -> int:
    """Return how often the kernel has killed in our control group for want of memory; 0: it won't say."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        group = Path("/proc/self/cgroup").read_text().rpartition("::")[2].strip().lstrip("/")
        for line in (Path("/sys/fs/cgroup") / group / "memory.events").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0


def _name_signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"
