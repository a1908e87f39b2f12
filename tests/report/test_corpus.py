"""Fifty hostile names in one sweep: no script, no handler, no way out, a row each, no formula."""

from __future__ import annotations

import csv
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from markdown_it import MarkdownIt

from bench.report.build import build, default_sections
from bench.report.escape import clean
from tests.report.test_hostile import NAMES
from tests.sweeps import make_study, write_sweep

# Attributes that a browser may follow.
ADDRESSES = {"src", "href", "xlink:href", "srcset", "action", "formaction", "data", "poster", "ping"}
CORPUS = (
    *NAMES,
    *(
        f"<{tag} {handler}=alert(1) src=//evil.example/x>"
        for tag, handler in (
            ("img", "onerror"),
            ("svg", "onload"),
            ("body", "onpageshow"),
            ("video", "oncanplay"),
            ("details open", "ontoggle"),
            ("iframe", "onload"),
            ("math", "onclick"),
            ("marquee", "onstart"),
        )
    ),
    *(f"{opening}cmd|' /C calc'!A0" for opening in ("=", "+", "-", "@", "\t=", "\r=", " =", "\u200b=")),
    *(
        f"x{closing}<script>alert(1)</script>"
        for closing in ("</title>", "</style>", "</table>", "'\"`", "]]>")
    ),
    *("](https://evil.example)", "![x](https://evil.example/x.png)", "<https://evil.example>", "[x]: //e"),
    *(
        "```\n# head",
        "~~~",
        "| a | b |",
        "|---|---|",
        "---",
        "\n\n- item",
        "\\",
        "\\|",
        "&lt;b&gt;",
        "&#60;b>",
    ),
    *(
        "..\\..\\nul",
        "/dev/null",
        "CON",
        "a\x00b",
        "\x9b31m",
        "\u2066\u202eabc\u2069",
        "{{ 7*7 }}",
        "${jndi:x}",
    ),
)


class Nodes(HTMLParser):
    """Counts the elements of a page, as a browser's parser would meet them, and collects their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(name, value or "") for name, value in attrs]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a sweep in which every name of the corpus has one run, its full report built."""
    assert len(set(CORPUS)) >= 50
    cells = [(make_study(name), list[float | str](["failed"])) for name in CORPUS]
    details = {"failed": "</code><script>alert(2)</script> | =1+1 ![x](https://evil.example)"}
    folder = write_sweep(tmp_path_factory.mktemp("corpus") / "results", cells, details=details)
    build(folder, default_sections(), None)
    return folder


def read_tables(text: str) -> list[list[list[str]]]:
    """Return the tables of a Markdown page, as rows of cells as its parser has them, the header first."""
    tables: list[list[list[str]]] = []
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        if token.type == "table_open":
            tables.append([])
        elif token.type == "tr_open":
            tables[-1].append([])
        elif token.type in ("th_open", "td_open"):
            tables[-1][-1].append("")
        elif token.type == "inline" and tables and tables[-1] and token.level >= 4:
            tables[-1][-1][-1] = "".join(child.content for child in token.children or ())
    return tables


def test_the_page_has_no_node_handler_or_address_of_theirs(folder: Path) -> None:
    html = (folder / "report.html").read_text()
    assert "could not be written" not in html
    nodes = Nodes()
    nodes.feed(html)
    # What a page of harmless names has, and nothing else.
    assert nodes.tags["script"] == nodes.tags["style"] == 1
    assert not set(nodes.tags) & {"img", "iframe", "video", "math", "marquee", "b", "i", "object", "embed"}
    assert nodes.tags["svg"] == html.count("<svg ") and nodes.tags["body"] == 1
    assert not [name for name, _ in nodes.attributes if name.startswith("on") or name == "style"]
    links = [value for name, value in nodes.attributes if name in ADDRESSES]
    assert len(links) > 10
    for link in links:
        parts = urlsplit(link)
        assert (parts.scheme, parts.netloc) in (("", ""), ("data", ""))


def test_markdown_has_a_row_for_each_run_and_no_markup_of_theirs(folder: Path) -> None:
    text = (folder / "report.md").read_text()
    tables = read_tables(text)
    for rows in tables:
        assert {len(row) for row in rows} == {len(rows[0])}
    failed, runs = (
        next(rows for rows in tables if end in rows[0] and "seed" in rows[0]) for end in ("reason", "run id")
    )
    assert len(failed) - 1 == len(runs) - 1 == len(CORPUS)
    column = failed[0].index("optimizer")
    # As a reader sees them, they are still told apart.
    assert len({row[column] for row in failed[1:]}) >= len({clean(name) for name in CORPUS})
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    inner = [child for token in tokens for child in token.children or ()]
    assert not [token for token in (*tokens, *inner) if token.type in ("html_block", "html_inline")]
    # GitHub also makes links of bare addresses, and mathematics of what stands between dollars.
    outside = "".join(re.split(r"^(`{3,})text$.*?^\1$", text, flags=re.S | re.M)[::2])
    assert not re.search(r"(?<!\\)(?:://|[$~&])", outside)
    targets = [str(token.attrs.get("href", token.attrs.get("src", ""))) for token in inner if token.attrs]
    assert targets and not [each for each in targets if urlsplit(each).scheme or urlsplit(each).netloc]


def test_no_cell_of_any_csv_is_a_formula(folder: Path) -> None:
    paths = list(folder.glob("*/*.csv"))
    assert len(paths) > 3
    for path in paths:
        with open(path, newline="") as file:
            rows = list(csv.reader(file))
        assert {len(row) for row in rows} == {len(rows[0])}
        for cell in (cell for row in rows for cell in row):
            assert not cell.startswith(("+", "-", "@", "=", "\t", "\r")) or float(cell)
    (path,) = folder.glob("tables/failures*.csv")
    with open(path, newline="") as file:
        assert len(list(csv.reader(file))) == 1 + len(CORPUS)


def test_no_file_of_theirs_is_written(folder: Path) -> None:
    names = {path.name for path in folder.parent.iterdir()}
    assert names <= {"runs", "costs", "index.html", ".index.parquet", folder.name}
    assert all(re.fullmatch(r"[a-z0-9_.-]+", path.name) for path in folder.rglob("*"))
