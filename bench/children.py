"""The processes that a sweep starts: forked from one warm server, and gone when the sweep is."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import multiprocessing.context
import os
import signal
import threading


def context() -> multiprocessing.context.ForkServerContext:
    """Return where processes come from.

    There is one server for all, started with the first process; what it has imported then, every later one
    has. A process forked from it starts in a twentieth of a second, as torch is there.
    """
    found = multiprocessing.get_context("forkserver")
    # Should an import in the server look for a GPU: torch's other way would keep forks from using it.
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    found.set_forkserver_preload(["bench.train", "bench.meter.step", "torch._dynamo"])
    return found


def follow_parent() -> None:
    """Leave it to the parent when this process ends, and end with it, however it ended."""
    # Ctrl-C reaches the whole process group; the parent decides what becomes of its processes.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
