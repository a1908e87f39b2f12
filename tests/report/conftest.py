"""One golden sweep with everything that can go wrong in it, built once."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from bench.report import look
from bench.report.build import build, default_sections
from bench.spec import Study
from tests.sweeps import draw_picture, make_study, write_sweep

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
GOLDEN: tuple[tuple[str, list[float | str]], ...] = (
    ("adamw", [0.0100, 0.0102, 0.0103]),
    ("adam", [0.0101, 0.01025, 0.0103]),
    ("muon", [0.0090, 0.0091, 0.0093]),
    ("sgd", [0.0190, 0.0191, 0.0193]),
    ("lion", [0.0098, 0.0111, 0.0102]),
    ("wild", [0.0120, "diverged", 0.0102]),
    ("partial", [0.0100, "oom", 0.0103]),
    ("broken", ["failed", "failed", "failed"]),
    ("exotic", ["unsupported", "unsupported", "unsupported"]),
    ("short", [0.0101, 0.0103]),
    ("forgotten", ["absent", "absent", "absent"]),
)
DETAILS = {
    "failed": "ValueError: betas wants 2 values, got 3",
    "unsupported": "no bf16 on this CPU",
    "oom": "out of memory at step 3",
}


def make_golden(cells: Sequence[tuple[str, list[float | str]]]) -> list[tuple[Study, list[float | str]]]:
    """Return the golden sweep's studies in the order of the cells given."""
    return [(make_study(name, weight_decay=0.0 if name == "adam" else 0.01), ends) for name, ends in cells]


@contextlib.contextmanager
def undrawn() -> Iterator[None]:
    """Build reports whose figures are laid out and described but not drawn: that is most of the time.

    For tests of what stands beside them; the golden sweep's and all others' are drawn.
    """

    picture = draw_picture(0.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(look, "render", lambda _: ("<svg></svg>", picture))
        yield


@pytest.fixture(scope="module")
def undrawn_module() -> Iterator[None]:
    """Build all reports of a module's own undrawn."""
    with undrawn():
        yield


@pytest.fixture(scope="session")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the golden sweep, its report built with the default sections."""
    root = tmp_path_factory.mktemp("golden") / "results"
    folder = write_sweep(root, make_golden(GOLDEN), details=DETAILS)
    build(folder, default_sections(), None)
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A browser to open reports in."""
    api = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install bench[browser]")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    with api.sync_playwright() as driver:
        # A container's root has no sandbox; the page under test is ours.
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def open_page(browser: Any, path: Path, width: int = 1600, scheme: str = "light") -> tuple[Any, list[str]]:
    """Return a page, loaded with the network off, and what it complained of or asked for, itself apart."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True)
    page = context.new_page()
    told: list[str] = []
    page.on("console", lambda message: told.append(message.text))
    page.on("pageerror", lambda error: told.append(str(error)))
    page.on("request", lambda request: told.append(request.url))
    page.goto(path.resolve().as_uri())
    own = path.resolve().as_uri()
    return page, [each for each in told if each != own and not each.startswith("data:image/png")]
