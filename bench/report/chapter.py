"""What a chapter may hold: text, commands, tables and figures, none of which knows how it is shown."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bench.errors import SpecError
from bench.report.sweep import Sweep
from bench.report.tables import Table


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A drawing and the numbers behind it."""

    # File name without its ending.
    name: str
    caption: str
    # What a reader who can't see it needs to know.
    alt: str
    svg: bytes
    png: bytes
    data: pd.DataFrame
    # A photograph is shown as PNG, a drawing as SVG.
    is_picture: bool = False
    # Several panels side by side want the page's whole width.
    is_wide: bool = False
    # Names of what a reader may hide, one by one, where the drawing tells them apart.
    series: tuple[str, ...] = ()
    is_folded: bool = False
    kind: str = "figure"


@dataclass(frozen=True, kw_only=True)
class Text:
    """A paragraph."""

    text: str
    # What a reader may skip at first.
    is_small: bool = False
    kind: str = "text"


@dataclass(frozen=True, kw_only=True)
class Note:
    """A point of a list, and the command that answers it."""

    text: str
    command: str | None = None
    # The question that it answers, where it opens with one.
    label: str | None = None


@dataclass(frozen=True, kw_only=True)
class Notes:
    """A list of points."""

    items: tuple[Note, ...]
    # Under this line they are folded; None: they stand open.
    title: str | None = None
    # Set apart: what to read if nothing else is read.
    is_card: bool = False
    kind: str = "notes"


@dataclass(frozen=True, kw_only=True)
class Code:
    """Lines to copy."""

    text: str
    kind: str = "code"


@dataclass(frozen=True, kw_only=True)
class Heading:
    """The name of what follows, inside a chapter."""

    text: str
    kind: str = "heading"


Block = Text | Notes | Code | Heading | Table | Figure


@dataclass(frozen=True, kw_only=True)
class Chapter:
    """One section of the report as it came out for one sweep."""

    title: str
    blocks: tuple[Block, ...]
    # Why there is nothing to say; None when there is.
    left_out: str | None = None


# A section returns its blocks, or the one line that says why it has none.
Show = Callable[[Sweep], Sequence[Block] | str]


def find_sections(paths: Sequence[str]) -> list[tuple[str, Show]]:
    """Import the sections of a report.

    Args:
        paths: Import paths of modules, from the reader's own configuration and never from a stored result.

    Returns:
        Title and show function of each, in order.

    Raises:
        SpecError: A path can't be imported, or its module is no section.
    """
    sections = []
    for path in paths:
        try:
            module: Any = importlib.import_module(path)
        except ImportError as error:
            raise SpecError(f"report.sections: {path}: can't be imported: {error}") from error
        title, show = getattr(module, "TITLE", None), getattr(module, "show", None)
        if not isinstance(title, str) or not callable(show):
            raise SpecError(f"report.sections: {path}: a section offers TITLE and show(sweep)")
        sections.append((title, show))
    return sections


def write_chapters(sweep: Sweep, sections: Sequence[tuple[str, Show]]) -> tuple[Chapter, ...]:
    """Run every section; one that fails says so in its place, because the rest took hours to compute."""
    chapters = []
    for title, show in sections:
        try:
            shown = show(sweep)
        except Exception as error:
            shown = f"This section could not be written: {type(error).__name__}: {error}"
        if isinstance(shown, str):
            chapters.append(Chapter(title=title, blocks=(), left_out=shown))
        else:
            chapters.append(Chapter(title=title, blocks=tuple(shown)))
    return tuple(chapters)
