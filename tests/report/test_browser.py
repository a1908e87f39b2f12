"""The page in a browser, under its own policy: nothing is fetched, all is seen, and its few handles work."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.report.build import build, default_sections
from tests.report.test_hostile import NAMES
from tests.sweeps import make_study, write_sweep

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
api = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install playwright")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with api.sync_playwright() as driver:
        # A container's root has no sandbox; the page under test is ours.
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def open_page(browser: Any, path: Path, width: int = 1600, scheme: str = "light") -> tuple[Any, list[str]]:
    """Return a page and what it complained of or asked for, itself apart."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    told: list[str] = []
    page.on("console", lambda message: told.append(message.text))
    page.on("pageerror", lambda error: told.append(str(error)))
    page.on("request", lambda request: told.append(request.url))
    page.goto(path.resolve().as_uri())
    own = path.resolve().as_uri()
    return page, [each for each in told if each != own and not each.startswith("data:image/png")]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1600])
def test_all_is_seen_without_a_request(browser: Any, golden: Path, width: int, scheme: str) -> None:
    page, told = open_page(browser, golden / "report.html", width, scheme)
    page.click("#unfold")
    assert told == []
    # The page itself never scrolls sideways.
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    figures = page.locator("figure svg, figure img")
    assert figures.count() == page.locator("figure").count() > 3
    for index in range(figures.count()):
        box = figures.nth(index).bounding_box()
        assert box is not None and box["width"] > 200 and box["height"] > 60
        assert figures.nth(index).get_attribute("aria-label") or figures.nth(index).get_attribute("alt")
    # Drawn in their colours, not in the black of a style that the policy refused.
    strokes = "[...document.querySelectorAll('figure path')].map((each) => getComputedStyle(each).stroke)"
    assert page.evaluate(f"new Set({strokes}).size") > 3
    page.close()


def test_tables_sort_both_ways_and_back(browser: Any, golden: Path) -> None:
    page, _ = open_page(browser, golden / "report.html")
    table = page.locator("#results table").first
    names = table.locator("tbody th")
    written = names.all_text_contents()
    button = table.locator("thead button", has_text="val loss").first
    column = button.evaluate("(each) => each.parentElement.cellIndex")

    def read() -> list[float]:
        cells = table.locator(f"tbody tr > :nth-child({column + 1})").all_text_contents()
        return [float(cell.split()[0]) for cell in cells if cell[:1].isdigit()]

    # By keyboard too.
    button.focus()
    page.keyboard.press("Enter")
    rising = read()
    assert rising == sorted(rising) and len(set(rising)) > 3
    assert table.locator("th[aria-sort=ascending]").count() == 1
    button.click()
    assert read() == rising[::-1]
    button.click()
    assert names.all_text_contents() == written and table.locator("th[aria-sort]").count() == 0
    page.close()


def test_a_series_hides_in_its_figure_only(browser: Any, golden: Path) -> None:
    page, _ = open_page(browser, golden / "report.html")
    page.click("#unfold")
    figure = page.locator("figure", has=page.locator(".series")).first
    button = figure.locator(".series button", has_text="muon")
    marks = f"figure .{button.get_attribute('data-series')}"
    before = page.locator(f"{marks}:visible").count()
    button.click()
    assert figure.locator(f".{button.get_attribute('data-series')}:visible").count() == 0
    assert 0 < page.locator(f"{marks}:visible").count() < before
    button.click()
    assert page.locator(f"{marks}:visible").count() == before
    page.close()


def test_the_contents_lead_into_what_is_folded(browser: Any, golden: Path) -> None:
    page, _ = open_page(browser, golden / "report.html")
    assert not page.locator("#reproduce h2").is_visible()
    page.click("nav a[href='#reproduce']")
    assert page.locator("#reproduce h2").is_visible()
    # Still in sight, so that the next section is one click away.
    assert page.locator("nav a[href='#warnings']").is_visible()
    top = page.locator("nav").bounding_box()["y"]
    assert 0 <= top < 900
    page.close()


def test_without_scripts_nothing_is_lost(browser: Any, golden: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((golden / "report.html").resolve().as_uri())
    assert page.locator("#unfold:visible, .series:visible, thead button").count() == 0
    page.locator("#rest > summary").click()
    assert page.locator("#reproduce h2").is_visible()
    context.close()


def test_hostile_names_do_nothing(browser: Any, tmp_path: Path) -> None:
    studies = [(make_study(name, lr=1e-3), [0.01, 0.0101, 0.0102]) for name in NAMES]
    folder = write_sweep(tmp_path / "results", [(study, list[float | str](ends)) for study, ends in studies])
    build(folder, default_sections(), None)
    page, told = open_page(browser, folder / "report.html")
    assert told == [] and page.locator("script").count() == 1
    assert page.locator("th", has_text=NAMES[0]).count() > 0
    page.close()
