"""The page in a browser, under its own policy: nothing is fetched, all is seen, and its few handles work."""

from __future__ import annotations

from importlib.resources import files
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from bench.report.build import build, default_sections
from bench.spec import Study
from tests.report.conftest import DETAILS, open_page
from tests.report.test_factors import vary
from tests.report.test_hostile import NAMES
from tests.sweeps import make_study, write_sweep

pytestmark = pytest.mark.browser
LOOKS = list(product(("light", "dark"), (360, 1600)))


# Letters that stick out of their drawing, or of the box where there is room for all of it.
BEYOND = """[...document.querySelectorAll('figure svg')].flatMap((drawing) => {
  const box = drawing.getBoundingClientRect(), paper = drawing.parentElement;
  const clipped = innerWidth > 480 && paper.scrollWidth > paper.clientWidth ? [paper.ariaLabel] : [];
  const letters = [...drawing.querySelectorAll('use, text')].filter((each) => {
    const own = each.getBoundingClientRect();
    return own.left < box.left - 1 || own.right > box.right + 1
      || own.top < box.top - 1 || own.bottom > box.bottom + 1;
  });
  return [...clipped, ...letters.map((each) => paper.ariaLabel + ': ' + each.parentElement.id)];
})"""


@pytest.fixture(scope="module")
def crossed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a sweep of three optimizers over two factors, in which runs fail."""
    losses = {"adamw": 0.010, "sgd": 0.020, "lion": 0.011}
    ends = {("sgd", 0.3, "relu"): ["failed"] * 3, ("lion", 0.1, "relu"): [0.011, "diverged", "oom"]}
    cells: list[tuple[Study, list[float | str]]] = []
    for name, dropout, activation in product(losses, (0.1, 0.3), ("relu", "gelu")):
        finished = [losses[name] * (1 + dropout + 0.01 * seed) for seed in range(3)]
        study = vary(name, dropout=dropout, activation=activation)
        cells.append((study, [*ends.get((name, dropout, activation), finished)]))
    command = "python -m bench -m optimizer=adamw,sgd,lion model.dropout=0.1,0.3 model.activation=relu,gelu"
    root = tmp_path_factory.mktemp("crossed") / "results"
    folder = write_sweep(root, cells, details=DETAILS, command=command)
    build(folder, default_sections(), None)
    return folder


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1600])
def test_all_is_seen_without_a_request(browser: Any, golden: Path, width: int, scheme: str) -> None:
    page, told = open_page(browser, golden / "report.html", width, scheme)
    page.click("#unfold")
    assert told == []
    # The page itself never scrolls sideways.
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(BEYOND) == []
    figures = page.locator("figure svg, figure img")
    assert figures.count() == page.locator("figure").count() > 3
    for index in range(figures.count()):
        box = figures.nth(index).bounding_box()
        assert box is not None and box["width"] > 200 and box["height"] > 60
        assert figures.nth(index).get_attribute("aria-label") or figures.nth(index).get_attribute("alt")
    # Drawn in their colours, not in the black of a style that the policy refused.
    strokes = "[...document.querySelectorAll('figure path')].map((each) => getComputedStyle(each).stroke)"
    assert page.evaluate(f"new Set({strokes}).size") > 3
    page.context.close()


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
    page.context.close()


def test_the_keyboard_alone_reaches_what_can_be_pressed(browser: Any, golden: Path) -> None:
    page, _ = open_page(browser, golden / "report.html")

    def reach(selector: str) -> None:
        for _ in range(200):
            page.keyboard.press("Tab")
            if page.evaluate("(selector) => document.activeElement.matches(selector)", selector):
                # Whoever tabs sees where.
                assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
                return
        raise AssertionError(f"no Tab reaches {selector}")

    reach("nav a[href='#results']")
    page.keyboard.press("Enter")
    reach("#results thead button")
    page.keyboard.press("Enter")
    assert page.locator("#results th[aria-sort=ascending]").count() == 1
    reach(".series button")
    page.keyboard.press("Space")
    assert page.locator(".series button[aria-pressed=false]").count() == 1
    reach("summary")
    before = page.locator("details[open]").count()
    page.keyboard.press("Enter")
    assert page.locator("details[open]").count() == before + 1
    page.context.close()


@pytest.mark.parametrize("name", ["golden", "crossed", "index"])
def test_nobody_is_shut_out(browser: Any, golden: Path, crossed: Path, name: str) -> None:
    path = {
        "golden": golden / "report.html",
        "crossed": crossed / "report.html",
        "index": crossed.parent / "index.html",
    }[name]
    page, told = open_page(browser, path)
    assert told == []
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    page.evaluate((files("axe_playwright_python") / "axe.min.js").read_text())
    found = {}
    empty = "document.querySelectorAll('figure svg').forEach((each) => each.replaceChildren())"
    if name == "crossed":
        # What is in a drawing is slow to judge: one page's are.
        page.evaluate(empty)
    for scheme, width in LOOKS:
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        # No rule may find anything, not even a small one.
        ran = page.evaluate("axe.run({ resultTypes: ['violations'] })")
        assert "color-contrast" in {rule["id"] for rule in [*ran["passes"], *ran["incomplete"]]}
        for rule in ran["violations"]:
            for node in rule["nodes"]:
                found[rule["id"], node["html"][:200]] = (rule["impact"], scheme, width)
        # They look the same on any ground.
        page.evaluate(empty)
    assert found == {}
    page.context.close()


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
    page.context.close()


def test_the_contents_lead_into_what_is_folded(browser: Any, golden: Path) -> None:
    page, _ = open_page(browser, golden / "report.html")
    assert not page.locator("#reproduce h2").is_visible()
    page.click("nav a[href='#reproduce']")
    assert page.locator("#reproduce h2").is_visible()
    # Still in sight, so that the next section is one click away.
    assert page.locator("nav a[href='#warnings']").is_visible()
    top = page.locator("nav").bounding_box()["y"]
    assert 0 <= top < 900
    page.context.close()


def test_paper_holds_all_of_it(browser: Any, golden: Path) -> None:
    # As wide as A4 less the margins of a printer.
    page, _ = open_page(browser, golden / "report.html", 718, "dark")
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("document.documentElement.scrollWidth") <= 718
    beyond = "(each) => each.scrollWidth > each.clientWidth"
    assert (
        page.evaluate(f"[...document.querySelectorAll('.scroll, pre, .paper')].filter({beyond}).length") == 0
    )
    assert page.locator("#reproduce h2").is_visible() and not page.locator("nav").is_visible()
    # Ink is dear, and the dark look is for screens.
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    page.context.close()


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
    page.context.close()
