"""Where and how a sweep runs, as far as that changes no number."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from bench.kinds import Count, NonNegative, Positive, Record


class Place(Record, frozen=True, kw_only=True):
    """Where results live and how many runs train side by side: changes no number."""

    results: Annotated[str, Meta(min_length=1)]
    # Runs that train at once; auto: one a CPU core per `threads`, one a place on a GPU.
    workers: Count | Literal["auto"]
    # A run that takes longer is ended, and has the status `timeout`; null: it may take what it takes.
    timeout_s: Positive | None = None
    # CUDA devices that runs may use, by index; how many runs each takes at a time.
    devices: tuple[Annotated[int, Meta(ge=0)], ...] | Literal["auto"] = "auto"
    per_device: Count = 1
    # Seconds between two saves of a run under way; studies of older versions have no such field.
    checkpoint_s: NonNegative = 30.0
    # A sweep that has a first answer sooner does not draw it.
    first_answer_s: NonNegative = 15.0
