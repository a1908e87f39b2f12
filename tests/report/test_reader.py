"""A first-time reader's ten questions: each answered within two screens of its entry in the contents."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bench.report.build import build, default_sections
from tests.report.conftest import open_page
from tests.report.test_large import write_large
from tests.sweeps import COMMAND, make_machine, make_search, make_tuned_study, write_sweep

pytestmark = pytest.mark.browser

NUM_SEEDS = 5
# Planted, as a factor on the reference's loss: one wins, one ties, one loses with its lr on the edge.
FACTORS = {"adamw": 1.0, "lion": 0.94, "adam": 1.001, "sgd": 1.4}
BEST_LR = {"adamw": 1e-3, "lion": 1e-4, "adam": 1e-2, "sgd": 1e-1}
LRS = (1e-4, 1e-3, 1e-2, 1e-1)
EDGE = {"sgd": "high"}
OOM_SEED, OOM = 3, "out of memory at step 17"
MACHINE = make_machine()
SCREEN = 900
# What is in sight of a folded or an open page, from the smallest element that says all of it.
FIND = """(words) => {
  const says = (each) => words.every((word) => each.innerText.replace(/\\s+/g, " ").includes(word));
  const places = [...document.querySelectorAll("li, p, pre, tr, figcaption")].filter((each) =>
    each.checkVisibility() && says(each)).map((each) => each.getBoundingClientRect());
  return places.map((each) => [each.top, each.bottom]);
}"""


def list_losses(name: str) -> list[float]:
    """Return the planted losses of an optimizer: its factor, and a little that differs from seed to seed."""
    return [
        0.01 * FACTORS[name] * (1 + 0.01 * seed + 0.0005 * ((seed * 7 + len(name)) % 3))
        for seed in range(NUM_SEEDS)
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    studies = {name: make_tuned_study(name) for name in (*FACTORS, "muon")}
    # Far from one another, so that the search leaves nothing open.
    searches = [
        make_search(
            study,
            {lr: [0.01 * (1 + abs(math.log10(lr / BEST_LR.get(name, 1e-3))))] * 3 for lr in LRS},
            edge=EDGE.get(name),  # type: ignore[arg-type]
        )
        for name, study in studies.items()
    ]
    cells: list[tuple[Any, list[float | str]]] = [
        (studies[name], list[float | str](list_losses(name))) for name in FACTORS
    ]
    cells.append((studies["muon"], ["oom" if seed == OOM_SEED else 0.01 for seed in range(NUM_SEEDS)]))
    root = tmp_path_factory.mktemp("reader") / "results"
    folder = write_sweep(root, cells, search=searches, details={"oom": OOM}, machine=MACHINE)
    build(folder, default_sections(), None)
    return folder


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the planted sweep of test_large, its report built."""
    root = tmp_path_factory.mktemp("large")
    folder, _ = write_large(root, models=["mlp", "cnn"], precisions=["fp32"], num_lrs=8)
    build(folder, default_sections(), None)
    return folder


@pytest.fixture(scope="module")
def page(browser: Any, folder: Path) -> Any:
    page, told = open_page(browser, folder / "report.html")
    assert told == []
    return page


def measure_lead(name: str) -> float:
    """Return the mean difference to the reference in %, from what was planted."""
    pairs = zip(list_losses(name), list_losses("adamw"), strict=True)
    return 100 * math.expm1(statistics.fmean(math.log(loss / other) for loss, other in pairs))


# The question, the entry of the contents that a reader would try, and what one place there has to say.
QUESTIONS: dict[str, tuple[str, Sequence[str]]] = {
    "which optimizer won here": ("The answer", ["Better than adamw: lion"]),
    "by how much": ("The answer", [f"lion ({measure_lead('lion'):+.1f} %)"]),
    "may I trust it": (
        "The answer",
        [f"n = {NUM_SEEDS} paired seeds", "95 % intervals", f"1 of {NUM_SEEDS * 5} runs did not finish"],
    ),
    "what speaks against it": ("Warnings", ["sgd", f"best lr {BEST_LR['sgd']:g} is the top of its range"]),
    # State of 0 words a parameter, where the others keep two.
    "which is cheapest in memory": ("Memory", ["Cheapest at its peak", "sgd"]),
    "what lr": ("Results", ["lion", "better", f" {BEST_LR['lion']:g} "]),
    "was the search wide enough": ("Tuning", ["Not wide enough", "sgd (high end)"]),
    "what failed": ("Failures", ["muon", f" {OOM_SEED} ", "oom", OOM]),
    "how do I rerun it": ("Reproduce", [COMMAND]),
    "what hardware": ("Reproduce", [MACHINE.device_name]),
    "what does tied mean": (
        "How the numbers were made",
        ["tied:", "lies inside the workload's margin (+-2 %)"],
    ),
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_answer_lies_within_two_screens_of_its_entry(page: Any, question: str) -> None:
    entry, words = QUESTIONS[question]
    page.evaluate("document.documentElement.style.scrollBehavior = 'auto'; scrollTo(0, 0)")
    page.get_by_role("navigation").get_by_role("link", name=entry, exact=True).click()
    page.wait_for_timeout(50)
    # The heading that the reader lands on is in sight itself.
    assert 0 <= page.get_by_role("heading", name=entry, exact=True).bounding_box()["y"] < SCREEN
    places = page.evaluate(FIND, list(words))
    assert any(top >= -1 and bottom <= 2 * SCREEN for top, bottom in places), places


def test_what_ties_and_what_loses_is_told_apart(page: Any) -> None:
    text = page.locator(".card").inner_text()
    assert "tied within the margin: adam (" in text.lower()
    # Its lr on the edge: it may not have lost fairly.
    assert "no claim: " in text and "worse" not in text


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(1600, 900), (360, 800)])
def test_the_first_screen_of_a_large_sweep_says_which_how_sure_and_at_what_cost(
    browser: Any, large: Path, width: int, height: int, scheme: str
) -> None:
    page, told = open_page(browser, large / "report.html", width, scheme)
    page.set_viewport_size({"width": width, "height": height})
    lines = page.locator(".card li")
    assert lines.count() == 3 and told == []
    for index, question in enumerate(("Which:", "How sure:", "At what cost:")):
        box = lines.nth(index).bounding_box()
        assert question in lines.nth(index).text_content()
        assert box["y"] > 0 and box["y"] + box["height"] < height
