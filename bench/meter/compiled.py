"""What compiling costs before the first step, from processes that have compiled nothing yet."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec
import torch

from bench import compiling
from bench.cost import Compiling
from bench.kinds import Record
from bench.meter.process import Apart, Ended
from bench.resolve import is_held_here
from bench.spec import Run

# Where inductor keeps what it compiled; triton's own cache lies inside.
_CACHE = "TORCHINDUCTOR_CACHE_DIR"
# The first may compile, the second again for a learning rate that changes; by then it is settled.
_FIRST_STEPS, _LATER_STEPS = 5, 5


class FirstSteps(Record, frozen=True, kw_only=True):
    """How a compiled run starts."""

    # Of the first steps, beyond what as many later ones take.
    excess_s: float
    # Pieces compiled after the first step.
    num_recompiles: int
    # Why there was no such start.
    trouble: str | None = None


class Started(Record, frozen=True, kw_only=True):
    """How a compiled run starts with the compiler's cache empty, and with it filled."""

    cold: FirstSteps
    # None: its process ended.
    warm: FirstSteps | None


class _Question(Record, frozen=True, kw_only=True):
    run: Run
    folder: str


@contextmanager
def start_compiled(run: Run, notes: list[str]) -> Iterator[Started | None]:
    """Start a compiled run twice, in processes of their own with a cache of its own, which stays in use.

    Args:
        run: Nothing is done for one that is not compiled.
        notes: Gets a line where it can't be done.

    Yields:
        How it started; None where nothing is compiled or nothing could be found out.
    """
    if run.compile.name == "none":
        yield None
        return
    if is_held_here(run):
        notes.append("compiling: no fresh process can have this model and data, which only this one holds")
        yield None
        return
    before = os.environ.get(_CACHE)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        question = msgspec.json.encode(_Question(run=run, folder=folder))
        cold, warm = _ask_apart(question, notes), None
        if cold is not None:
            warm = _ask_apart(question, notes)
        os.environ[_CACHE] = folder
        try:
            yield None if cold is None else Started(cold=cold, warm=warm)
        finally:
            os.environ.pop(_CACHE)
            if before is not None:
                os.environ[_CACHE] = before


def weigh_compiling(started: Started, compiled_s: float, eager_s: float | None) -> Compiling:
    """Return what compiling costs, and the number of steps after which it is earned back.

    Args:
        started: As measured.
        compiled_s: A compiled step.
        eager_s: The same step without compiling; None: not known.
    """
    saved_s = 0.0 if eager_s is None else eager_s - compiled_s
    return Compiling(
        cold_s=started.cold.excess_s,
        warm_s=None if started.warm is None else started.warm.excess_s,
        num_recompiles=started.cold.num_recompiles,
        break_even_steps=started.cold.excess_s / saved_s if saved_s > 0 else None,
    )


def take_first_steps(run: Run) -> FirstSteps:
    """Take a run's first steps in this process, and see what they cost beyond later ones."""
    from bench.meter.cell import make_cell

    cell = make_cell(run)
    first_s = [_take(cell.step, run.device)]
    num_compiled = compiling.count_compiled()
    first_s += [_take(cell.step, run.device) for _ in range(_FIRST_STEPS - 1)]
    num_recompiles = compiling.count_compiled() - num_compiled
    later_s = statistics.median(_take(cell.step, run.device) for _ in range(_LATER_STEPS))
    return FirstSteps(excess_s=max(0.0, sum(first_s) - _FIRST_STEPS * later_s), num_recompiles=num_recompiles)


def _take(step: Callable[[], object], device: str) -> float:
    """Return the seconds of one step on the wall: compiling is done by other threads and processes too."""
    start = time.perf_counter()
    step()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _ask_apart(question: bytes, notes: list[str]) -> FirstSteps | None:
    apart = Apart(_answer)
    try:
        found = msgspec.json.decode(apart.ask(question), type=FirstSteps)
        trouble = found.trouble
    except Ended as error:
        trouble = str(error)
    finally:
        apart.stop()
    if trouble is not None:
        notes.append(f"compiling: {trouble}")
        return None
    return found


def _answer(question: bytes) -> bytes:
    asked = msgspec.json.decode(question, type=_Question)
    os.environ[_CACHE] = asked.folder
    try:
        found = take_first_steps(asked.run)
    except Exception as error:
        line = (str(error).strip().splitlines() or ["no message"])[0][:300]
        found = FirstSteps(excess_s=0.0, num_recompiles=0, trouble=f"{type(error).__name__}: {line}")
    return msgspec.json.encode(found)
