"""Fifty hostile names in one sweep: no script, no handler, no way out, a row each, no formula."""

from __future__ import annotations

import csv
import re
from pathlib import Path

from bench.report.build import build
from bench.report.section import answer, failures, ran, warnings
from tests.report.test_build import parse
from tests.report.test_hostile import NAMES
from tests.sweeps import make_study, write_sweep

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


def test_fifty_hostile_names_are_inert_everywhere(tmp_path: Path) -> None:
    assert len(set(CORPUS)) >= 50
    cells = [(make_study(name), list[float | str](["failed"])) for name in CORPUS]
    details = {"failed": "</code><script>alert(2)</script> | =1+1 ![x](https://evil.example)"}
    folder = write_sweep(tmp_path / "results", cells, details=details)
    build(folder, [module.__name__ for module in (answer, warnings, ran, failures)], None)
    html = (folder / "report.html").read_text()
    found = parse(html)
    assert "could not be written" not in html
    assert html.count("<script") == 1 and not found.handlers
    assert not found.tags & {"img", "iframe", "video", "body onpageshow", "math", "marquee", "b", "i"}
    assert not [link for link in found.links if "//" in link or ":" in link]
    with open(next(folder.glob("tables/failures*.csv")), newline="") as file:
        rows = list(csv.reader(file))
    assert len(rows) == 1 + len(CORPUS)
    for cell in (cell for row in rows for cell in row):
        assert not cell.startswith(("+", "-", "@", "=", "\t", "\r")) or float(cell)
    text = (folder / "report.md").read_text()
    outside = "".join(re.split(r"^(`{3,})text$.*?^\1$", text, flags=re.S | re.M)[::2])
    assert not re.search(r"(?<!\\)(?:<script|<img|!\[x\]|<https)", outside)
    assert sum(line.startswith("| ") and "failed" in line for line in outside.splitlines()) >= len(CORPUS)
    assert {path.name for path in folder.parent.iterdir()} <= {"runs", "costs", "index.html", folder.name}
