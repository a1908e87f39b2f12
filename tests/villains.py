"""Models, data and optimizers that end their run, each in its own way; named by their import path."""

from __future__ import annotations

import math
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.data.arrays import Arrays


class Villain(nn.Module):
    """A linear model that does something else as soon as it is asked for an output.

    Args:
        deed: Name of one of the functions below.
    """

    def __init__(self, *, deed: str, input_shape: tuple[int, ...], num_outputs: int) -> None:
        super().__init__()
        self.deed = DEEDS[deed]
        self.inner = nn.Linear(math.prod(input_shape), num_outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.inner(inputs.flatten(1))
        self.deed()
        return outputs if self.deed is not _nan else outputs * float("nan")


def _raise() -> None:
    raise ValueError("nothing but trouble\nand a second line")


def _exit() -> None:
    sys.exit(0)


def _exit_hard() -> None:
    os.write(1, b"these are my last words\n")
    os._exit(0)


def _crash() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def _abort() -> None:
    os.abort()


def _be_killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _hang() -> None:
    time.sleep(1000)


def _nan() -> None:
    pass


def _run_out() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")


def _hog() -> None:
    # What the process has now, and 256 MiB.
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * os.sysconf("SC_PAGE_SIZE") + 2**28
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    held = []
    while True:
        held.append(torch.ones(2**22))


def _lose_data_worker() -> None:
    loader = torch.utils.data.DataLoader(_Suicidal(), num_workers=1, multiprocessing_context="fork")
    next(iter(loader))


def _wait_for_data_worker() -> None:
    loader = torch.utils.data.DataLoader(_Asleep(), num_workers=1, multiprocessing_context="fork")
    next(iter(loader))


def _blame_device() -> None:
    # Only the device of that name is ill.
    if os.environ.get("CUDA_VISIBLE_DEVICES") == "1":
        raise RuntimeError("CUDA error: an illegal memory access was encountered")
    # Nor is any other so quick that the ill one gets no second run.
    time.sleep(0.01)


def _leave_child() -> None:
    # A process of its own that would go on for ever, and then the end.
    if os.fork() == 0:
        time.sleep(1000)
        os._exit(0)
    os._exit(3)


class _Suicidal(torch.utils.data.Dataset[int]):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> int:
        os.kill(os.getpid(), signal.SIGKILL)
        return index


class _Asleep(torch.utils.data.Dataset[int]):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> int:
        Path(os.environ["DATA_WORKER"]).write_text(str(os.getpid()))
        time.sleep(1000)
        return index


DEEDS: dict[str, Callable[[], Any]] = {
    "raise": _raise,
    "exit": _exit,
    "exit_hard": _exit_hard,
    "crash": _crash,
    "abort": _abort,
    "be_killed": _be_killed,
    "hang": _hang,
    "not_finite": _nan,
    "run_out": _run_out,
    "hog": _hog,
    "lose_data_worker": _lose_data_worker,
    "wait_for_data_worker": _wait_for_data_worker,
    "blame_device": _blame_device,
    "leave_child": _leave_child,
}


def write_configs(folder: Path) -> None:
    """Make each deed a member of the group `model`, in a folder for `--config-dir`."""
    (folder / "model").mkdir(parents=True)
    for deed in DEEDS:
        lines = f"_target_: tests.villains.Villain\nname: {deed}\ndeed: {deed}\n"
        (folder / "model" / f"{deed}.yaml").write_text(lines)


def end_process() -> Arrays:
    """A data set that takes its process along."""
    os._exit(7)
