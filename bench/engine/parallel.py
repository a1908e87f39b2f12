"""One training spread over processes that torchrun started: who they are, what they share, how they end."""

from __future__ import annotations

import contextlib
import datetime
import inspect
import json
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec
import torch
import torch.distributed as dist
from torch import Tensor, nn

from bench.checkpoint import decode_state, encode_state
from bench.engine.shares import refuse_draws
from bench.errors import Unsupported
from bench.result import Status
from bench.spec import Run

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store

# A process that is gone is noticed at once, by its connection; only one that hangs is waited for.
_PATIENCE = datetime.timedelta(hours=1)
# So long a process that failed has to say why, before it counts as gone.
_LAST_WORDS = datetime.timedelta(seconds=5)
# What torch raises where a connection ends; it has no class of its own for all of them.
_LOST = ("gloo", "nccl", "connection closed", "connection reset", "broken pipe", "connection refused")


class Call(msgspec.Struct):
    """What rank 0 asks of the others, through torchrun's store."""

    run: Run
    # Number of the run that the processes formed their group for: it lasts as long as they do.
    group: int


# The group that this process is in. It is never taken apart: torch may wait for itself while it does that.
_group: int | None = None
_abandoned: list[object] = []


class Team:
    """The processes of one run, seen from one of them; rank 0 evaluates for all, saves and reports.

    Args:
        run: What they train; rank 0 calls the others once it knows that it can.
    """

    def __init__(self, run: Run) -> None:
        self.rank, self.size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        self._run = run
        self._store: Store | None = None

    def call(self) -> None:
        """Have the others train the run along; for rank 0."""
        store = connect()
        if first := os.environ.get("BENCH_RANK_0"):
            store.set("BENCH_RANK_0", first)
        number = store.add("runs", 1)
        call = Call(self._run, _group or number)
        store.set(f"run/{number}", msgspec.json.encode(call).decode())
        self.enter(store, number, call.group)

    def enter(self, store: Store, number: int, group: int) -> None:
        """Meet the others; all of them wait until everyone is there.

        Args:
            store: From `connect`.
            number: Of the run, counted over all that this torchrun has trained.
            group: As it was called; a process that is in another one already can't come.
        """
        global _group
        self._store = dist.PrefixStore(str(number), store)  # type: ignore[attr-defined]
        if _group is None:
            backend = "gloo"
            if self._run.device == "cuda":
                torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
                backend = "cpu:gloo,cuda:nccl"
            meeting = dist.PrefixStore(f"group/{group}", store)  # type: ignore[attr-defined]
            dist.init_process_group(
                backend, store=meeting, rank=self.rank, world_size=self.size, timeout=_PATIENCE
            )
            _group = group
        assert _group == group, (_group, group)

    def share(self, num_rows: int) -> tuple[int, int]:
        """Return this process's part of some rows: its first, and the one after its last."""
        return num_rows * self.rank // self.size, num_rows * (self.rank + 1) // self.size

    def wrap(self, model: nn.Module) -> nn.Module:
        """Return a module whose backward leaves the mean of all processes' gradients in each of them."""
        if self._store is None:
            self.call()
        # torch 2.13 gave it another name.
        names = inspect.signature(nn.parallel.DistributedDataParallel).parameters
        name = "forward_sync_buffers" if "forward_sync_buffers" in names else "broadcast_buffers"
        options: dict[str, Any] = {name: False}
        return nn.parallel.DistributedDataParallel(model, **options)

    @contextlib.contextmanager
    def surround(self, model: nn.Module, *, is_first: bool, is_last: bool) -> Iterator[None]:
        """Go around forward and backward of one part of a step.

        Args:
            model: As it was wrapped.
            is_first: The first part of all: a model that draws at random shows it there.
            is_last: Of its step: gradients are exchanged once, with those of the last part.
        """
        with contextlib.ExitStack() as stack:
            if not is_last:
                stack.enter_context(model.no_sync())  # type: ignore[operator]
            if is_first:
                stack.enter_context(refuse_draws(self._run))
            yield

    def add(self, values: Tensor) -> None:
        """Add up a tensor over all processes, in place."""
        dist.all_reduce(values)

    def agree(self, is_so: bool) -> bool:
        """Return what rank 0 says."""
        answer = torch.tensor(is_so, dtype=torch.uint8)
        dist.broadcast(answer, 0)
        return bool(answer)

    def send(self, content: bytes | None) -> bytes | None:
        """Return what rank 0 sends, or None where it sends nothing."""
        length = torch.tensor(-1 if content is None else len(content))
        dist.broadcast(length, 0)
        if length < 0:
            return None
        sent = torch.empty(int(length), dtype=torch.uint8)
        if self.rank == 0 and content:
            sent.copy_(torch.frombuffer(bytearray(content), dtype=torch.uint8))
        if content != b"":
            dist.broadcast(sent, 0)
        return sent.numpy().tobytes()

    def send_state(self, state: dict[str, Any] | None, device: str) -> dict[str, Any] | None:
        """Return a saved state that rank 0 has read, or None where it has none."""
        content = self.send(None if state is None else bytes(encode_state(state)))
        return state if content is None or self.rank == 0 else decode_state(content, device)

    def add_sums(self, num_items: int, sums: dict[str, float]) -> tuple[int, dict[str, float]]:
        """Add up numbers by name over all processes; rank 0 knows all names."""
        names = json.loads(self.send(json.dumps(sorted(sums)).encode()) or b"[]")
        values = torch.tensor([num_items, *(sums.get(name, 0.0) for name in names)], dtype=torch.float64)
        self.add(values)
        return int(values[0]), dict(zip(names, values[1:].tolist(), strict=True))

    def report(self, status: Status, detail: str) -> None:
        """Tell rank 0 why this process gives up."""
        # Where the store is gone, so is everyone.
        with contextlib.suppress(RuntimeError):
            assert self._store is not None
            self._store.set("fault", json.dumps([status, f"rank {self.rank}: {detail}"]))

    def explain(self, error: BaseException) -> tuple[Status, str] | None:
        """Return how a run ended whose processes lost each other; None: the error is this process's own."""
        text = str(error).lower()
        if self._store is None or not (
            isinstance(error, dist.DistError) or any(word in text for word in _LOST)
        ):
            return None
        with contextlib.suppress(RuntimeError, ValueError):
            self._store.wait(["fault"], _LAST_WORDS)
            status, detail = json.loads(self._store.get("fault"))
            # What one process alone lacks is a fault of where it runs.
            return "failed" if status == "unsupported" else status, detail
        return "killed", f"one of its {self.size} processes is gone; the same command goes on"


def abandon() -> None:
    """Be in no group, after a run that left this process in order and the others perhaps not."""
    global _group
    if _group is not None:
        # Kept, as its end might never come.
        _abandoned.append(dist.group.WORLD)
        dist.destroy_process_group()
        _group = None


def is_spread() -> bool:
    """Return whether torchrun started this process beside others."""
    return "TORCHELASTIC_RUN_ID" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1


def find_team(run: Run) -> Team | None:
    """Return the processes that are to train a run, seen from rank 0; None where that is this one alone.

    Raises:
        Unsupported: There are no such processes.
    """
    if run.processes == 1:
        return None
    if not is_spread() or int(os.environ["WORLD_SIZE"]) != run.processes:
        command = f"torchrun --nproc-per-node={run.processes} -m bench"
        raise Unsupported(f"processes={run.processes}: wants to be started by {command}")
    if run.device == "mps":
        raise Unsupported(f"processes={run.processes}: wants a CPU or CUDA devices, got mps")
    return Team(run)


def connect() -> Store:
    """Return torchrun's own store, in the part of it that belongs to this start of its processes."""
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    start = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    store = dist.TCPStore(address, port, is_master=False, wait_for_workers=False)  # type: ignore[attr-defined]
    return dist.PrefixStore(f"bench/{start}", store)  # type: ignore[attr-defined]
