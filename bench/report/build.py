"""The report's one door for the harness: a sweep's folder in, its report beside it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from bench.errors import SpecError, StoreError
from bench.publish import write_atomic
from bench.report.chapter import Chapter, Figure, find_sections, write_chapters
from bench.report.latex import write_latex
from bench.report.load import load
from bench.report.overview import write_overview
from bench.report.page import write_html, write_markdown_page
from bench.report.shipped import read_shipped
from bench.report.tables import Table, write_csv
from bench.report.terminal import write_block


def build(folder: Path, sections: Sequence[str], reference: str | None, margin: float | None = None) -> Path:
    """Write a sweep's report into its folder, each file in one step, and say nothing.

    report.html, report.md, summary.txt, tables/*.csv (of verdicts also *.tex), figures/*.{svg,png,csv}; what
    an earlier report left in tables/ and figures/ goes. Beside the folder, index.html lists all sweeps.

    Args:
        folder: `results/<sweep>`, with its manifest and studies; the runs lie beside it in `results/`.
        sections: Import paths of the chapters, in order; from the reader's configuration only.
        reference: Name or label of the optimizer to compare with; None: adamw, else the first by name.
        margin: Difference that does not matter; None: what each workload declares.

    Returns:
        The path of report.html.

    Raises:
        StoreError: The manifest is absent or unreadable, or the folder can't be written.
        SpecError: A section can't be imported or is none.
    """
    imported = find_sections(sections)
    sweep = load(folder, reference, margin)
    block = write_block(sweep)
    chapters = _name_apart(write_chapters(sweep, imported))
    files: dict[Path, bytes] = {}
    for part in (part for chapter in chapters for part in chapter.blocks):
        if isinstance(part, Table):
            files[Path("tables", f"{part.name}.csv")] = write_csv(part.data)
            if any(column.header == "verdict" for column in part.columns):
                files[Path("tables", f"{part.name}.tex")] = write_latex(part).encode()
        elif isinstance(part, Figure):
            stem = Path("figures", part.name)
            files[stem.with_name(f"{part.name}.svg")] = part.svg
            files[stem.with_name(f"{part.name}.png")] = part.png
            files[stem.with_name(f"{part.name}.csv")] = write_csv(part.data)
    files[Path("report.md")] = write_markdown_page(sweep, chapters, block).encode()
    files[Path("summary.txt")] = block.encode()
    # Last, since it is what a reader opens.
    files[Path("report.html")] = write_html(sweep, chapters, block).encode()
    for path, content in files.items():
        write_atomic(folder / path, content)
    _remove_stale(folder, files)
    # The list of sweeps is a convenience: a file it can't read may not cost this report.
    with contextlib.suppress(StoreError):
        write_overview(folder.resolve().parent)
    return folder / "report.html"


def read_block(folder: Path) -> str:
    """Return the terminal block of a sweep whose report was built: at most 16 lines, 24 for a suite.

    Raises:
        StoreError: There is no summary.txt in the folder.
    """
    path = folder / "summary.txt"
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror or error}") from error


def default_sections(name: str = "default") -> tuple[str, ...]:
    """Return the sections that one of our own conf/report/*.yaml lists, wherever bench is installed.

    Args:
        name: Which; never from a stored result.

    Raises:
        SpecError: The file is absent or lists no sections.
    """
    path, content = read_shipped(name)
    sections = content.get("sections")
    if not isinstance(sections, list) or not all(isinstance(each, str) for each in sections):
        raise SpecError(f"{path}: sections: wants a list of import paths, got {sections!r}")
    return tuple(sections)


def _name_apart(chapters: Iterable[Chapter]) -> tuple[Chapter, ...]:
    """Return the chapters with every file name used once: two arenas may read alike in letters and digits."""
    taken: set[tuple[str, str]] = set()
    renamed = []
    for chapter in chapters:
        blocks = []
        for block in chapter.blocks:
            if isinstance(block, Table | Figure):
                name, number = block.name, 1
                while (block.kind, name) in taken:
                    number += 1
                    name = f"{block.name}-{number}"
                taken.add((block.kind, name))
                block = replace(block, name=name)
            blocks.append(block)
        renamed.append(replace(chapter, blocks=tuple(blocks)))
    return tuple(renamed)


def _remove_stale(folder: Path, files: Iterable[Path]) -> None:
    kept = {folder / path for path in files}
    for place, endings in (("tables", {".csv", ".tex"}), ("figures", {".csv", ".svg", ".png"})):
        for path in (folder / place).glob("*") if (folder / place).is_dir() else ():
            if path not in kept and path.suffix in endings and path.is_file():
                path.unlink(missing_ok=True)
