"""The chapters as one HTML page that needs nothing else, and as Markdown beside its pictures."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from bench.report.chapter import Chapter, Code, Figure, Heading, Notes, Text
from bench.report.escape import clean, escape_markdown, fence_markdown, slug
from bench.report.factor import find_tasks
from bench.report.inline import Drawings
from bench.report.look import name_series
from bench.report.sweep import Sweep
from bench.report.tables import Table, format_column, write_markdown

_HERE = Path(__file__).parent
# A small sweep is read in a minute: so many sections stand open, the rest is one folded line.
_MAX_OPEN = 6
# A table of more rows is looked up, not read.
_MAX_ROWS = 16


def write_html(sweep: Sweep, chapters: Sequence[Chapter], block: str) -> str:
    """Return the report as one self-contained HTML page: nothing is fetched, and only our own script runs.

    Args:
        sweep: What the report is of.
        chapters: Its sections.
        block: The terminal block, shown as it is at the top.
    """
    environment = make_environment()
    drawings = Drawings()
    environment.filters.update(
        clean=clean,
        slug=slug,
        drawing=drawings.inline,
        cells=_list_rows,
        series=name_series,
        folded=_is_folded,
    )
    template = environment.get_template("page.html.j2")
    style, script = ((_HERE / name).read_text(encoding="utf-8").strip() for name in ("page.css", "page.js"))
    written = [chapter for chapter in chapters if chapter.left_out is None]
    num_open = _MAX_OPEN if len(sweep.arenas) <= 1 and not find_tasks(sweep) else len(written)
    return template.render(
        sweep=sweep,
        manifest=sweep.manifest,
        shown=written[:num_open],
        folded=written[num_open:],
        left_out=[chapter for chapter in chapters if chapter.left_out is not None],
        block=block,
        style=Markup(style),
        script=Markup(script),
        hashes={"style": _hash(style), "script": _hash(script)},
        # Asked for after the last figure.
        glyphs=drawings.write_glyphs,
    )


def make_environment() -> Environment:
    """Return what fills templates: all text is escaped, and a name that is not there is an error."""
    return Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def write_markdown_page(sweep: Sweep, chapters: Sequence[Chapter], block: str) -> str:
    """Return the report as Markdown: pipe tables, and pictures by relative path."""
    parts = [f"# {escape_markdown(sweep.manifest.name)}", fence_markdown(block)]
    for chapter in chapters:
        if chapter.left_out is not None:
            continue
        parts.append(f"## {escape_markdown(chapter.title)}")
        parts += [_write_block(each) for each in chapter.blocks]
    left_out = [
        f"- {escape_markdown(each.title)}: {escape_markdown(each.left_out)}"
        for each in chapters
        if each.left_out
    ]
    if left_out:
        parts += ["## Left out", "\n".join(left_out)]
    return "\n\n".join(parts) + "\n"


def _write_block(block: Text | Notes | Code | Heading | Table | Figure) -> str:
    match block:
        case Text():
            return escape_markdown(block.text)
        case Heading():
            return f"### {escape_markdown(block.text)}"
        case Code():
            return fence_markdown(block.text)
        case Notes():
            lines = [f"**{escape_markdown(block.title)}**", ""] if block.title else []
            for note in block.items:
                label = f"**{escape_markdown(note.label)}** " if note.label else ""
                lines.append(f"- {label}{escape_markdown(note.text)}")
                if note.command:
                    lines += ["", *("  " + line for line in fence_markdown(note.command).splitlines()), ""]
            return "\n".join(lines).rstrip()
        case Table():
            remark = f"\n\n{escape_markdown(block.note)}" if block.note else ""
            title = f"**{escape_markdown(block.title)}** ([CSV](tables/{block.name}.csv))"
            return f"{title}\n\n{write_markdown(block)}{remark}"
        case Figure():
            stem = f"figures/{block.name}"
            return (
                f"![{escape_markdown(block.alt)}]({stem}.png)\n\n"
                f"{escape_markdown(block.caption)} ([SVG]({stem}.svg), [CSV]({stem}.csv))"
            )


def _hash(text: str) -> str:
    """Return what a content security policy calls a text that it lets through."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _is_folded(table: Table) -> bool:
    num_rows = max((len(column.cells) for column in table.columns), default=0)
    return num_rows > _MAX_ROWS if table.is_folded is None else table.is_folded


def _list_rows(table: Table) -> list[list[str]]:
    columns = [format_column(column) for column in table.columns]
    return [[clean(cell) for cell in row] for row in zip(*columns, strict=True)]
