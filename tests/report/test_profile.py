"""A performance profile: in what share of arenas each optimizer came how near, where there are enough."""

from __future__ import annotations

from pathlib import Path

from bench.report.across import find_leagues
from bench.report.build import build
from bench.report.chapter import Figure
from bench.report.load import load
from bench.report.look import assign_looks
from bench.report.plot.profile import draw_profile
from bench.report.section import across
from tests.arenas import BETTER, REFERENCE, WORSE, Ends, write_arenas


def draw(folder: Path) -> Figure | str:
    sweep = load(folder, None)
    (league,) = find_leagues(sweep.arenas)
    return draw_profile(league, assign_looks(sweep))


def test_five_arenas_have_a_profile(tmp_path: Path) -> None:
    tasks: list[dict[str, Ends]] = [
        {"adamw": [0.01] * 3, "muon": [0.01 * ratio] * 3, "wild": ["diverged"] * 3 if ratio == 1 else WORSE}
        for ratio in (0.5, 0.8, 1, 1.1, 2)
    ]
    folder = write_arenas(tmp_path, tasks)
    figure = draw(folder)
    assert isinstance(figure, Figure)
    again = draw(folder)
    assert isinstance(again, Figure) and (again.svg, again.png) == (figure.svg, figure.png)
    muon = figure.data[figure.data["optimizer"] == "muon"].set_index("loss_ratio")["share_of_arenas"]
    near = {round(float(str(ratio)), 6): share for ratio, share in muon.items()}
    assert [near[ratio] for ratio in (0.5, 0.8, 1.0, 1.1, 2.0)] == [0.2, 0.4, 0.6, 0.8, 1.0]
    # It never gets to the arena in which it diverged.
    assert figure.data[figure.data["optimizer"] == "wild"]["share_of_arenas"].max() == 0.8
    build(folder, [across.__name__], None)
    for ending in ("svg", "png", "csv"):
        assert (folder / "figures" / f"profile_adamw.{ending}").stat().st_size > 100


def test_a_profile_needs_the_reference_and_ratios(tmp_path: Path) -> None:
    tasks: list[dict[str, Ends]] = [{"adamw": REFERENCE, "muon": BETTER} for _ in range(5)]
    plain = draw(write_arenas(tmp_path / "a", tasks, {0: "difference"}))
    assert isinstance(plain, str) and "no ratios" in plain
    tasks[0] = {"adamw": ["diverged", 0.01, 0.01], "muon": BETTER}
    torn = draw(write_arenas(tmp_path / "b", tasks))
    assert isinstance(torn, str) and torn.endswith("here are 4.")


def test_many_optimizers_share_the_profile_over_panels(tmp_path: Path) -> None:
    names = [f"o{number:02}" for number in range(14)]
    task: dict[str, Ends] = {"adamw": REFERENCE, **{name: BETTER for name in names}}
    figure = draw(write_arenas(tmp_path, [task] * 5))
    assert isinstance(figure, Figure) and set(figure.data["optimizer"]) == set(names)
