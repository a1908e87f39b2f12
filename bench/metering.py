"""What cells' steps cost, each measured once among all who share a store."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from bench.claims import Claims
from bench.dispatch import POLL_S
from bench.identity import cost_id
from bench.meter.outcome import conclude
from bench.meter.process import measure_all
from bench.outbox import Room
from bench.result import Cost, Machine, Result
from bench.spec import Metering
from bench.store import Store


def meter(
    cells: Sequence[tuple[Metering, Machine, Result | None]],
    store: Store,
    claims: Claims,
    should_stop: Callable[[], bool],
    timeout_s: float | None,
    say: Callable[[str], None],
) -> Iterator[Cost]:
    """Measure each cell that nobody else does, and wait for what others measure.

    Args:
        cells: What to measure where; and how its runs ended where that would end a measurement as well.
        store: Where the costs go.
        claims: Keep others from the same cell.
        should_stop: Once it says yes, the rest is left out.
        timeout_s: What a cell may take beyond the time it is measured for.
        say: Shows a line.

    Raises:
        Stopped: There was no room for a cost until it was asked to stop.
    """
    waiting = {cost_id(metering): (metering, machine) for metering, machine, _ in cells}
    room = Room(store.root, should_stop, say)
    for metering, machine, end in cells:
        if end is not None:
            del waiting[cost_id(metering)]
            detail = f"not measured: its runs ended so: {end.detail}"
            yield conclude(metering, machine, end.status, detail, {})

    def take() -> Iterator[tuple[Metering, Machine]]:
        for key, (metering, machine) in list(waiting.items()):
            folder = store.cost_path(key, machine).parent
            if room.keep(lambda folder=folder: claims.take(folder)):  # type: ignore[misc]
                if store.find_cost(key, machine) is None:
                    yield metering, machine
                claims.release(folder)

    while waiting and not should_stop():
        for cost in measure_all(take(), timeout_s=timeout_s, should_stop=should_stop):
            del waiting[cost.id]
            if cost.status == "finished":
                cost = room.keep(lambda cost=cost: store.publish_cost(cost))  # type: ignore[misc]
            yield cost
        for key, (_, machine) in list(waiting.items()):
            if (found := store.find_cost(key, machine)) is not None:
                del waiting[key]
                yield found
        if waiting:
            time.sleep(POLL_S)
