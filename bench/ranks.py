"""The door under torchrun: rank 0 does all that a single process does, and the others train along."""

from __future__ import annotations

import os
import sys

import msgspec

from bench import along, cli, owner


def main() -> None:
    """Be one process of a command that torchrun started several times."""
    if int(os.environ["RANK"]) > 0:
        # As `cli.main` does: their modules are the same.
        if os.getcwd() not in sys.path and "" not in sys.path:
            sys.path.insert(0, os.getcwd())
        sys.exit(along.follow())
    # Its processes tell the others by it who rank 0 is.
    os.environ[along.FIRST] = msgspec.json.encode(owner.myself()).decode()
    words = sys.argv[1:]
    # What a step costs is measured for one process; the others would be in its way.
    meter = [] if any(word.startswith("meter") for word in words) else ["meter=none"]
    sys.argv[1:] = [*words, *meter, f"processes={os.environ['WORLD_SIZE']}", "place.workers=1"]
    try:
        cli.main()
    finally:
        along.dismiss()
