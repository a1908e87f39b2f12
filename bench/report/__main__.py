"""`python -m bench.report`: rebuild a report from what is stored, or list the sweeps there are."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.errors import BenchError, StoreError
from bench.report.listing import list_sweeps


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        0, or 2 with one line on stderr when a path or a manifest is no good.
    """
    parser = argparse.ArgumentParser(
        prog="python -m bench.report",
        description="Rebuild a sweep's report from its stored results, or list the sweeps.",
        epilog="examples: python -m bench.report results/latest; python -m bench.report list",
    )
    parser.add_argument("folder", metavar="results/<sweep>|list", help="a sweep's folder, or the word list")
    parser.add_argument(
        "root", nargs="?", type=Path, default=None, help="with list: the results folder (results)"
    )
    parser.add_argument(
        "--reference", metavar="NAME", help="compare with this optimizer (adamw, else first by name)"
    )
    parsed = parser.parse_args(arguments)
    # A name from a result may hold what this terminal can't show.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        if parsed.folder == "list":
            print(list_sweeps(parsed.root or Path("results")), end="")
        else:
            _rebuild(Path(parsed.folder), parsed.reference)
    except BenchError as error:
        print(f"bench.report: {error}".replace("\n", " "), file=sys.stderr)
        return 2
    return 0


def _rebuild(folder: Path, reference: str | None) -> None:
    if not (folder / "manifest.json").is_file():
        raise StoreError(
            f"{folder}: not a sweep's folder (no manifest.json); see python -m bench.report list"
        )
    # Drawing takes seconds to import, and `list` needs none of it.
    from bench.report.build import build, default_sections, read_block

    build(folder, default_sections(), reference)
    print(read_block(folder), end="")


if __name__ == "__main__":
    sys.exit(main())
