"""A measurement's record from whatever was found, for who has no torch and only heard of its end too."""

from __future__ import annotations

from typing import Any

from bench.identity import cell_id, cost_id
from bench.kinds import SCHEMA
from bench.result import Cost, Machine, Status
from bench.spec import Metering


def conclude(
    metering: Metering, machine: Machine, status: Status, detail: str | None, figures: dict[str, Any]
) -> Cost:
    """Return the record of a measurement.

    Args:
        metering: What was asked.
        machine: Where.
        status: How it ended.
        detail: Why, in one line; None when it is finished.
        figures: By the name of their field; those that are absent are None.
    """
    absent: dict[str, Any] = dict.fromkeys(Cost.__struct_fields__)
    return Cost(
        **absent
        | {"notes": (), "num_steps": 0, "is_fast": True}
        | figures
        | {
            "schema": SCHEMA,
            "id": cost_id(metering),
            "cell_id": cell_id(metering.run),
            "run": metering.run,
            "status": status,
            "detail": detail,
            "machine": machine,
        }
    )
