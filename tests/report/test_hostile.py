"""A name may hold anything: shown as text in every format, acted on in none."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.report.build import build, default_sections, read_block
from bench.report.escape import clean, escape_csv, escape_markdown, measure, shorten, slug
from bench.spec import Study
from tests.report.test_build import is_narrow, parse
from tests.sweeps import make_machine, make_study, write_sweep

NAMES = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "=HYPERLINK(1)",
    "@SUM(1+1)|cmd",
    "a|b`c`[d](javascript:e)![f](g)*h*<i>",
    "$x^2$ \\frac{1}{0} %s {{7*7}} {% raw %}",
    "\x1b[31mred\x1b[0m\u202eevil\u200b\r\n# head",
    "../../etc/passwd",
    "--><svg onload=alert(1)>]]>",
)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    studies: list[tuple[Study, list[float | str]]] = []
    for name in NAMES:
        studies.append((make_study(name, lr=1e-3), [0.01, 0.0101, 0.0102]))
    studies.append((make_study(NAMES[0] + "x"), ["failed"] * 3))
    root = tmp_path_factory.mktemp("hostile") / "results"
    folder = write_sweep(
        root,
        studies,
        details={"failed": "</pre><script>alert(2)</script>\x1b]0;title\x07 | `code`"},
        machine=make_machine(device_name="<b>CPU</b>\x1b[2J", commit="=1+1"),
        command="python -m bench </code><script>alert(3)</script> ```",
    )
    build(folder, default_sections(), None)
    return folder


def test_html_holds_no_tag_of_theirs(hostile: Path) -> None:
    html = (hostile / "report.html").read_text()
    found = parse(html)
    assert "could not be written" not in html
    # The one script is ours, and the page's policy names its digest.
    assert html.count("<script") == html.count("</script>") == 1
    assert not found.tags & {"b", "i"} and not found.handlers
    assert not any(link.startswith("javascript") or link == "x" for link in found.links)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html and "{{7*7}}" in html


def test_markdown_shows_them_as_text(hostile: Path) -> None:
    text = (hostile / "report.md").read_text()
    outside = "\n".join(part for index, part in enumerate(text.split("````")) if index % 2 == 0)
    assert "\n# head" not in text and not re.search(r"(?<!\\)\]\(javascript", text)
    assert (
        "\\<script\\>" in outside
        and "a\\|b\\`c\\`\\[d\\](javascript:e)\\!\\[f\\](g)\\*h\\*\\<i\\>" in outside
    )
    widths = {
        line.replace("\\|", "").count("|")
        for line in text.splitlines()
        if "HYPERLINK" in line and "| " in line
    }
    headers = {
        line.count("|")
        for line in text.splitlines()
        if line.startswith("| optimizer") or line.startswith("| arena")
    }
    assert widths and widths <= headers


def test_no_cell_of_a_csv_is_a_formula(hostile: Path) -> None:
    seen = 0
    for path in hostile.glob("*/*.csv"):
        with open(path, newline="") as file:
            for row in csv.reader(file):
                for cell in row:
                    if cell[:1] in ("=", "+", "-", "@", "\t", "\r"):
                        float(cell)
                    seen += cell.startswith("'=")
    assert seen > 3


def test_no_control_character_leaves_the_house(hostile: Path) -> None:
    block = read_block(hostile)
    assert is_narrow(block)
    for name in ("summary.txt", "report.md", "report.html"):
        text = (hostile / name).read_text()
        assert not {character for character in text if ord(character) < 32} - {"\n"}
        assert not {"\u202e", "\u200b", "\x7f"} & set(text)


def test_files_stay_in_the_folder(hostile: Path) -> None:
    names = {path.name for path in hostile.parent.iterdir()}
    assert names == {"runs", "costs", hostile.name, "index.html", ".index.parquet"}


@given(st.text())
def test_cleaned_text_is_one_printable_line(text: str) -> None:
    cleaned = clean(text)
    assert cleaned.isprintable() or all(character.isprintable() or character == " " for character in cleaned)
    assert clean(cleaned) == cleaned


@given(st.text(), st.integers(4, 100))
def test_shortening_always_fits(text: str, columns: int) -> None:
    assert measure(shorten(text, columns)) <= columns


@given(st.text())
def test_markdown_and_csv_and_file_names_are_inert(text: str) -> None:
    assert "|" not in escape_markdown(text).replace("\\|", "") and "\n" not in escape_markdown(text)
    assert not escape_csv(text).startswith(("=", "+", "-", "@", "\t", "\r"))
    assert slug(text).replace("-", "").replace("_", "").isalnum() or set(slug(text)) <= {"-", "_"}
