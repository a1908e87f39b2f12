"""What a process of torchrun's does that is not rank 0: it trains its share of whatever rank 0 trains."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

import msgspec

from bench import children, machine, owner
from bench.forked import Child

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store

# What `owner.myself()` says in rank 0: an environment variable there, a key in torchrun's store.
FIRST = "BENCH_RANK_0"

_TICK_S = 0.05
# Where rank 0 has gone on to a run that does not begin here, so long is waited.
_STUCK_S = 20.0
# Between being asked to end, with nothing under way, and the end: rank 0 may have something to finish.
_GRACE_S = 10.0


def follow() -> int:
    """Train along until rank 0 says that this was all; return the exit code.

    The work is done in a process of its own, whose death tells the others at once that it will do no more.
    """
    from bench.engine import parallel

    asked_at: list[float] = []
    # These reach all processes; rank 0 decides what becomes of a run.
    for asked in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2):
        signal.signal(asked, lambda *_: asked_at.append(time.monotonic()))
    store, number = parallel.connect(), 1
    while True:
        child = children.fork("bench.along:train_share")
        child.connection.send_bytes(str(number).encode())
        is_busy, called_at = False, None
        while not child.is_over:
            number, is_busy = _hear(child, number, is_busy)
            if not store.check([f"run/{number + is_busy}"]):
                called_at = None
            elif time.monotonic() - (called_at := called_at or time.monotonic()) > _STUCK_S:
                child.kill()
            if asked_at and _is_first_gone(store):
                child.kill()
                if os.environ["RANK"] == "1":
                    print("bench: killed: rank 0 is gone; the same command goes on", file=sys.stderr)
                return 1
            if asked_at and not is_busy and time.monotonic() - asked_at[0] > _GRACE_S:
                child.kill()
                return 1
        if child.code == 0:
            return 0
        # What it was in the middle of is over for all.
        number += is_busy


def _is_first_gone(store: Store) -> bool:
    """Return whether rank 0 has ended without a word; of another host's nothing can be said."""
    if store.check(["dismissed"]) or not store.check([FIRST]):
        return False
    who = msgspec.json.decode(store.get(FIRST), type=dict[str, Any])
    return owner.is_here(who) and not owner.is_alive(who)


def _hear(child: Child, number: int, is_busy: bool) -> tuple[int, bool]:
    """Return the number of the run that the process is in or waits for, and whether it is in one."""
    if children.wait([child], _TICK_S):
        with contextlib.suppress(EOFError, OSError):
            while child.connection.poll():
                word, _, said = child.connection.recv_bytes().decode().partition(" ")
                number, is_busy = (int(said), True) if word == "in" else (int(said) + 1, False)
    return number, is_busy


def train_share(connection: Connection) -> None:
    """Train a share of each run from one number on; an end in the middle of a run is this process's end."""
    from bench import train
    from bench.engine import parallel

    number = int(connection.recv_bytes())
    store = parallel.connect()
    while True:
        # Asked again and again: a wait with an end writes lines of its own about it.
        while not store.check([f"run/{number}"]):
            time.sleep(_TICK_S)
        content = store.get(f"run/{number}")
        if not content:
            return
        call = msgspec.json.decode(content, type=parallel.Call)
        team = parallel.Team(call.run)
        team.enter(store, number, call.group)
        connection.send_bytes(b"in %d" % number)
        train.train_along(call.run, machine.describe(call.run.device, call.run.threads), team)
        connection.send_bytes(b"after %d" % number)
        number += 1


def dismiss() -> None:
    """Let the others go, once rank 0 has nothing more to train."""
    from bench.engine import parallel

    store = parallel.connect()
    store.set("dismissed", "")
    store.set(f"run/{store.add('runs', 1)}", "")
