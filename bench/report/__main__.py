"""`python -m bench.report`: rebuild a report from what is stored, list sweeps, print what they measured."""

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
        epilog="examples: python -m bench.report results/latest; python -m bench.report list; "
        "python -m bench.report workloads results/latest > docs/workloads.md",
    )
    parser.add_argument(
        "folder",
        metavar="results/<sweep>|list|workloads",
        help="a sweep's folder, or list, or workloads: what each workload can tell, as Markdown",
    )
    parser.add_argument(
        "root",
        nargs="?",
        type=Path,
        default=None,
        help="with list: the results folder (results); with workloads: the sweep's (results/latest)",
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
        elif parsed.folder == "workloads":
            _print_workloads(parsed.root or Path("results", "latest"), parsed.reference)
        else:
            _rebuild(Path(parsed.folder), parsed.reference)
    except BenchError as error:
        print(f"bench.report: {error}".replace("\n", " "), file=sys.stderr)
        return 2
    return 0


def _check(folder: Path) -> None:
    if not (folder / "manifest.json").is_file():
        raise StoreError(
            f"{folder}: not a sweep's folder (no manifest.json); see python -m bench.report list"
        )


def _print_workloads(folder: Path, reference: str | None) -> None:
    _check(folder)
    from bench.report.load import load
    from bench.report.workloads import write_workloads_page

    print(write_workloads_page(load(folder, reference)), end="")


def _rebuild(folder: Path, reference: str | None) -> None:
    _check(folder)
    # Drawing takes seconds to import, and `list` needs none of it.
    from bench.report.build import build, default_sections, read_block
    from bench.report.load import load
    from bench.report.noise import is_noise

    name = "noise" if is_noise(load(folder, reference)) else "default"
    build(folder, default_sections(name), reference)
    print(read_block(folder), end="")


if __name__ == "__main__":
    sys.exit(main())
