"""`python -m bench.report`: rebuild or merge reports, list sweeps, compare them, say what is missing."""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.errors import BenchError, SpecError, StoreError, nearest
from bench.report.listing import list_sweeps

# Drawing takes seconds to import, and most of what is asked needs none of it: imports are where they serve.

_DOORS = ("list", "status", "compare", "workloads", "columns")
_EXAMPLES = """examples:
  python -m bench.report results/latest                  rebuild a report
  python -m bench.report results/one results/two         one report over several sweeps
  python -m bench.report list                            the sweeps of results/
  python -m bench.report status results/latest           what is missing or failed, and the command for it
  python -m bench.report status --why results/latest     why runs have no stored answer, field by field
  python -m bench.report compare results/old results/new what changed between two sweeps
  python -m bench.report workloads results/latest > docs/workloads.md
  python -m bench.report columns > docs/columns.md       every column of every CSV
options, with any of them: reference=NAME margin=NUMBER"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        0, or 2 with one line on stderr when a request, a path or a manifest is no good.
    """
    parser = argparse.ArgumentParser(
        prog="python -m bench.report",
        description="Read what sweeps left: rebuild or merge reports, list, compare, say what is missing.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "words",
        metavar=f"results/<sweep>...|{'|'.join(_DOORS)}",
        nargs="+",
        help="sweeps' folders, or a word",
    )
    parser.add_argument(
        "--reference",
        metavar="NAME",
        help="as reference=NAME: compare with this optimizer (adamw, else the first)",
    )
    parser.add_argument(
        "--why",
        action="store_true",
        help="with status, of a sweep or a run's id: what is other than in the nearest stored run",
    )
    parsed = parser.parse_intermixed_args(arguments)
    # A name from a result may hold what this terminal can't show.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        words, reference, margin = _read_options(parsed.words, parsed.reference)
        print(_explain(words) if parsed.why else _answer(words, reference, margin), end="")
    except BenchError as error:
        print(f"bench.report: {error}".replace("\n", " "), file=sys.stderr)
        return 2
    return 0


def _read_options(words: Sequence[str], reference: str | None) -> tuple[list[str], str | None, float | None]:
    """Return the words that are no options, and the reference and the margin that the others name."""
    rest, margin = [], None
    for word in words:
        key, sign, value = word.partition("=")
        # A folder of that name is a folder.
        if not sign or "/" in key or Path(word).exists():
            rest.append(word)
        elif key == "reference":
            reference = value
        elif key == "margin":
            try:
                margin = float(value)
            except ValueError:
                margin = math.nan
            if not (math.isfinite(margin) and margin > 0):
                raise SpecError(f"margin: wants a number > 0, such as 0.005, got {value!r}")
        else:
            hint = nearest(key, ["reference", "margin"]) or "; known: reference, margin"
            raise SpecError(f"{key}: no such option{hint}")
    return rest, reference, margin


def _explain(words: Sequence[str]) -> str:
    from bench.report.why import explain_run, explain_sweep

    door, *rest = words
    if door != "status":
        raise SpecError(f"--why: wants `status` before it, got {door!r}")
    word = _take(door, rest, 0, 1, "results/latest")[0]
    path = Path(word)
    if not (path / "manifest.json").is_file() and re.fullmatch("[0-9a-f]{6,32}", path.name):
        # The folder of a run lies under runs/ and two of its digits; an id alone is one of results/.
        return explain_run(path.parents[2] if path.is_dir() else Path("results"), path.name)
    return explain_sweep(_sweep(word))


def _answer(words: Sequence[str], reference: str | None, margin: float | None) -> str:
    door, *rest = words or [""]
    if door == "list":
        return list_sweeps(Path(_take(door, rest, 0, 1, "results")[0]))
    if door == "columns":
        from bench.report.columns import write_columns_page

        _take(door, rest, 0, 0)
        return write_columns_page()
    if door == "workloads":
        from bench.report.load import load
        from bench.report.workloads import write_workloads_page

        return write_workloads_page(
            load(_sweep(_take(door, rest, 0, 1, "results/latest")[0]), reference, margin)
        )
    if door == "status":
        from bench.report.state import write_status

        return write_status(_sweep(_take(door, rest, 0, 1, "results/latest")[0]))
    if door == "compare":
        from bench.report.change import write_changes

        old, new = map(_sweep, _take(door, rest, 2, 2))
        return write_changes(old, new, reference, margin)
    return _rebuild([_sweep(word) for word in words], reference, margin)


def _take(door: str, rest: Sequence[str], least: int, most: int, default: str = "") -> Sequence[str]:
    if not least <= len(rest) <= most:
        wanted = (
            f"{most} sweeps, the old and the new one"
            if least
            else f"at most {most} path"
            if most
            else "nothing"
        )
        raise SpecError(f"{door}: wants {wanted}, got {len(rest)} words")
    return rest or [default]


def _sweep(word: str) -> Path:
    folder = Path(word)
    if not (folder / "manifest.json").is_file():
        hint = nearest(word, _DOORS) if "/" not in word and not folder.exists() else ""
        raise StoreError(
            f"{word}: not a sweep's folder (no manifest.json){hint}; see python -m bench.report list"
        )
    return folder


def _rebuild(folders: Sequence[Path], reference: str | None, margin: float | None) -> str:
    from bench.report.build import build, default_sections, read_block
    from bench.report.load import load
    from bench.report.merge import merge
    from bench.report.noise import is_noise

    folder = merge(folders) if len({folder.resolve() for folder in folders}) > 1 else folders[0]
    sweep = load(folder, reference, margin)
    build(folder, default_sections("noise" if is_noise(sweep) else "default"), reference, margin)
    return read_block(folder)


if __name__ == "__main__":
    sys.exit(main())
